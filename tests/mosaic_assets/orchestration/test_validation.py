"""Faults of a project, each told with file and line."""

import itertools
import re
from pathlib import Path

import pytest

from mosaic_assets.cli.init import make_project
from mosaic_assets.orchestration.validation import faults
from mosaic_assets.tables.portability import refusals

number = itertools.count()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / f"faulty_{next(number)}"  # a package is imported once for each name
    make_project(root)
    return root


def change(project: Path, file: str, old: str, new: str) -> None:
    path = project / project.name / "defs" / "trips" / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("defs.yaml", "  ttl: 7d", "  tttl: 7d", r"defs\.yaml:27: 'tttl' is no attribute here\. Did you mean 'ttl'\?"),
        ("defs.yaml", "  path: trips/*.csv", "  pat: trips/*.csv",
         r"defs\.yaml:5: 'pat' is no attribute here\. .*'path'"),
        ("defs.yaml", "  sql: trips.sql", "  sql: [trips.sql]",
         r"defs\.yaml:12: attributes\.sql: .* is not of type 'string'"),
        ("defs.yaml", "tables.SqlTable", "tables.SqlTabel",
         r"defs\.yaml:8: component type .*\. Did you mean .*SqlTableComp"),
        ("defs.yaml", "  path: trips/*.csv", "  path: trips/*.csv: x", r"defs\.yaml:5: This is no YAML"),
        ("defs.yaml", "entities: [station]", "entities: [stations]", r"defs\.yaml:24: .*'stations'.*mean 'station'"),
        ("defs.yaml", "sql: trips.sql", "sql: trip.sql", r"defs\.yaml:12: The file .*trip\.sql' cannot be read"),
        ("defs.yaml", "  path: trips/*.csv", "  path: trips/*.csv\n  deps: [landing/tripz]",
         r"defs\.yaml:6: asset 'landing/tripz' is not declared"),
        ("defs.yaml", "attributes:\n  key: raw", "requirements: {env: [NO_SUCH_SECRET]}\nattributes:\n  key: raw",
         r"defs\.yaml:2: The environment variable 'NO_SUCH_SECRET' is not set"),
        ("defs.yaml", "  path: trips/*.csv", "  path: '{{ env.NO_SUCH }}/*.csv'",
         r"defs\.yaml:1: .*'NO_SUCH' is used but not named"),
        ("trips.sql", "from raw.trips", "from raw.trip",
         r"trips\.sql:11: table 'raw\.trip' is not declared\. Did you mean 'raw\.trips'"),
        ("trips.sql", "  distance_km,", "  rand() as distance_km,", r"trips\.sql:7: rand\(\) differs between engines"),
        ("trips.sql", "  station,", "  stattion,",
         r"trips\.sql:4: Column 'stattion' is not in raw\.trips\. Did you mean 'station'\?"),
        ("station_trips.sql", "  distance_km\n", "  distance_kmm\n",
         r"station_trips\.sql:7: Column 'distance_kmm' is not in tables\.trips\. Did you mean 'distance_km'\?"),
        ("trips.sql", "select\n", "selekt\n", r"trips\.sql: The query is no Spark SQL at line"),
    ],
)  # fmt: skip
def test_faults_are_told_with_file_and_line(project: Path, file: str, old: str, new: str, message: str) -> None:
    change(project, file, old, new)
    found = faults(project)
    assert any(re.search(message, fault.message) for fault in found), found


def test_wrong_column_is_told_once_and_not_of_what_reads_the_table(project: Path) -> None:
    change(project, "trips.sql", "  station,", "  stattion,")
    (fault,) = faults(project)
    assert fault.check == "sql"


def test_column_that_is_added_in_the_same_change_is_there(project: Path) -> None:
    change(project, "trips.sql", "  distance_km,", "  distance_km, distance_km * 1000 as distance_m,")
    change(project, "station_trips.sql", "  distance_km\n", "  distance_km, distance_m\n")
    assert faults(project) == []


def test_faults_of_a_sound_project(project: Path) -> None:
    assert faults(project) == []


@pytest.mark.parametrize(
    ("query", "refused"),
    [
        ("select rand(7), uuid(), x\nfrom t where at > now() -- rand()", [(1, "rand()"), (1, "uuid()"), (2, "now()")]),
        ("select * from t tablesample (10 percent)", [(1, "TABLESAMPLE")]),
        ("select current_timestamp, current_date() from t", [(1, "current_timestamp()"), (1, "current_date()")]),
        ("select mode, rand, pmod(xxhash64(k, 's'), 10) from t", []),
    ],
)
def test_refusals(query: str, refused: list[tuple[int, str]]) -> None:
    found = [(one.line, one.what.split()[0]) for one in refusals(query)]
    assert sorted(found) == sorted(refused)
