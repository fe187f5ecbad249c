"""A manifest for tests: everything that is not named is empty."""

from typing import Any

from mosaic_assets.datasets.manifest import Manifest

__all__ = ["fake_manifest"]


def fake_manifest(dataset: str, **named: Any) -> Manifest:
    """Returns a manifest of a dataset with the named fields; two with equal fields have equal ids."""
    empty: dict[str, Any] = {
        "feature_service": "",
        "tables": {},
        "query": "",
        "service": {"name": "", "views": []},
        "entity_key": (),
        "timestamp_field": "",
        "label": "",
        "label_known_field": "",
        "request": (),
        "on_demand": None,
        "cutoff_utc": "",
        "split": (),
        "columns": (),
        "code_version": "",
        "num_rows": {},
        "row_hash": "",
    }
    return Manifest(dataset, **{**empty, **named})
