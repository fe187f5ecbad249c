"""One list of value types: what the rooms take, what the runtime reads and what the docs show are the same."""

import re
from pathlib import Path
from typing import get_args

import pytest

from mosaic_assets.cli.init import make_project
from mosaic_assets.features.views import Dtype
from mosaic_assets.orchestration.validation import faults
from mosaic_assets.value_types import FEATURE_TYPES, REQUEST_TYPES, TABLE_TYPES, VALUE_TYPES, known_type
from mosaic_resources.bentos.specification import LookupField, RequestField
from mosaic_resources.errors import UserError

DATASET = """type: mosaic_assets.features.FeatureServiceComponent
attributes: {name: trips, features: ["station_trips:*"]}
---
type: mosaic_assets.datasets.DatasetComponent
attributes:
  name: trips
  sql: labels.sql
  feature_service: trips
  entity_key: [trip_id]
  timestamp_field: started_at
  label: long
  label_known_field: ended_at
  request:
    station: string
    rooms: int
"""


def test_the_runtime_and_the_views_take_these_types():
    assert set(get_args(RequestField.model_fields["type"].annotation)) == set(REQUEST_TYPES)
    assert set(get_args(LookupField.model_fields["dtype"].annotation)) == set(FEATURE_TYPES) == set(get_args(Dtype))
    assert all(FEATURE_TYPES[name] == kind for name, kind in REQUEST_TYPES.items())


def test_the_docs_show_the_three_vocabularies():
    page = (Path(__file__).parents[2] / "docs" / "tables.md").read_text()
    rows = re.findall(r"^\| [^|`]+ \| (.+?) \| (.+?) \| (.+?) \|$", page, re.M)
    shown = [tuple(None if cell == "—" else cell.strip("`") for cell in row) for row in rows]
    assert shown[-len(VALUE_TYPES) :] == [(one.column, one.feature, one.request) for one in VALUE_TYPES]


@pytest.mark.parametrize(
    ("place", "text", "near"),
    [
        ("request field", "int", "int64"),
        ("request field", "bigint", "int64"),
        ("request field", "Double", "float64"),
        ("request field", "strng", "string"),
        ("feature", "int", "int64"),
        ("feature", "boolean", "bool"),
        ("feature", "varchar", "string"),
        ("column", "int64", "bigint"),
        ("column", "integer", "int"),
        ("column", "float64", "double"),
        ("column", "datetime", "timestamp"),
    ],
)
def test_a_name_of_another_place_leads_to_ours(place, text, near):
    with pytest.raises(
        UserError, match=rf"^f:1: The {place} 'x' has the type '{text}'.*Did you mean '{near}'\? Known:"
    ):
        known_type(place, "x", text, "f:1")


def test_what_is_near_nothing_lists_the_known_types():
    with pytest.raises(UserError, match=r"cannot have\. Known: string, int64, float64, timestamp\.$"):
        known_type("request field", "x", "money", "f:1")
    assert "boolean" in TABLE_TYPES


def test_validate_names_file_line_and_field_of_a_wrong_type(tmp_path: Path):
    root = tmp_path / "wrong_types"
    make_project(root)
    folder = root / root.name / "defs" / "model"
    folder.mkdir()
    (folder / "defs.yaml").write_text(DATASET)
    (folder / "labels.sql").write_text("select trip_id from tables.trips")
    place, known = f"{folder / 'defs.yaml'}:15", "Known: string, int64, float64, timestamp."
    (fault,) = faults(root)
    assert fault.message.endswith(
        f"'rooms' has the type 'int', which a request field cannot have. Did you mean 'int64'? {known}"
    )
    assert fault.message.startswith(place)
    (folder / "defs.yaml").write_text(DATASET.replace("rooms: int", "rooms: int64"))
    assert faults(root) == []
    trips = root / root.name / "defs" / "trips" / "defs.yaml"
    trips.write_text(trips.read_text().replace("distance_km: float64", "distance_km: double"))
    (fault,) = faults(root)
    assert re.search(
        r"(defs/trips/defs\.yaml:28|FeatureView 'station_trips'): .*'distance_km' has the type 'double'.*'float64'",
        fault.message,
    )
