import json
from pathlib import Path
from typing import Any

import pytest

from mosaic_resources.bentos.specification import ServiceSpecification, read_specification
from mosaic_resources.errors import UserError
from mosaic_resources.online.layout import BlobLayout, FieldLayout, ViewLayout

LAYOUT = BlobLayout("fs", ("tailnum",), (ViewLayout("aircraft", (FieldLayout("delay", "float64"),)),))


def values(**changes: Any) -> dict[str, Any]:
    lookup = {
        "group": LAYOUT.group,
        "join_keys": ["tailnum"],
        "schema_id": LAYOUT.schema_id.hex(),
        "views": [{"name": "aircraft", "ttl_us": 5, "fields": [{"name": "delay", "dtype": "float64"}]}],
    }
    whole = {
        "name": "flights",
        "request": [{"name": "tailnum", "type": "string"}],
        "feature_service": "fs",
        "lookups": [lookup],
        "on_demand": {"file": "f.py", "sha256": "0" * 64, "features": ["ahead"]},
        "model": {"registered_model_name": "late", "version": "1"},
        "label": "late",
    }
    return {**whole, **changes}


def test_round_trip_through_json(tmp_path: Path) -> None:
    specification = ServiceSpecification.model_validate(values())
    file = tmp_path / "specification.json"
    file.write_text(specification.model_dump_json())
    assert read_specification(file) == specification
    assert specification.columns == ["tailnum", "asked_at", "aircraft__delay", "ahead"]
    assert specification.lookups[0].layout("fs") == LAYOUT
    assert specification.lookups[0].ttl_us == {"aircraft": 5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Flights!"}, "'name'"),
        ({"request": []}, "'request'"),
        ({"request": [{"name": "tailnum", "type": "text"}]}, "'request.0.type'"),
        ({"request": [{"name": "asked_at", "type": "timestamp"}]}, "none may be called 'asked_at'"),
        (
            {"request": [{"name": "origin", "type": "string"}]},
            "join key 'tailnum' of group 'tailnum' is no request field",
        ),
        ({"feature_service": "other"}, "the schema id of group 'tailnum' does not match"),
        ({"format_version": 2}, "'format_version'"),
        ({"more": 1}, "'more'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    file = tmp_path / "specification.json"
    file.write_text(json.dumps(values(**change)))
    with pytest.raises(UserError, match=message):
        read_specification(file)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_specification(tmp_path / "none.json")
