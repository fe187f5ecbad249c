"""The README's change of one thing fits the story as it is, and gives what it declares."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import yaml

from mosaic_assets.tables.transforms import run_sql
from mosaic_resources.delta.commit import Commit

ROOT = Path(__file__).parents[1]
VIEWS = ROOT / "mosaic_assets" / "defs" / "flights" / "features"


def changed(text: str, diff: str) -> str:
    """Returns a text with a diff of whole lines applied; its old lines must be there once."""
    lines = diff.splitlines()
    old = "\n".join(line[1:] for line in lines if line[0] in " -")
    assert text.count(old) == 1
    return text.replace(old, "\n".join(line[1:] for line in lines if line[0] in " +"))


def test_the_changed_view_has_the_columns_that_its_changed_schema_declares(engine, lake):
    sql, schema = re.findall(r"^```diff\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    query = changed((VIEWS / "origin_departures.sql").read_text(), sql)
    documents = yaml.safe_load_all(changed((VIEWS / "defs.yaml").read_text(), schema))
    view = next(one["attributes"] for one in documents if one["attributes"]["name"] == "origin_departures")
    times = [datetime(2013, 7, 1, 12, tzinfo=UTC) + timedelta(hours=hours) for hours in (0, 5, 12)]
    flights = {"origin": ["JFK"] * 3, "departed_at": pa.array(times, pa.timestamp("us", tz="UTC"))}
    flights["dep_delay"] = [10.0, 20.0, 50.0]
    version = lake.write("tables/flights", pa.table(flights), Commit("test"))
    made = run_sql(engine.session(), lake, query, {"tables/flights": version}).toArrow().sort_by("event_ts")
    assert set(made.column_names) == {"origin", "event_ts", "known_ts", *view["schema"]}
    assert made["mean_dep_delay_6h"].to_pylist() == [10.0, 15.0, 50.0]
    assert made["mean_dep_delay_3h"].to_pylist() == [10.0, 20.0, 50.0]
