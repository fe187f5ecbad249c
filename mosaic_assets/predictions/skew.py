"""Skew: what an endpoint looked up for its requests, against what the point-in-time join says of the same moments."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.features.historical import get_historical_features
from mosaic_assets.features.views import FeatureService, FeatureView
from mosaic_assets.value_types import FEATURE_TYPES, REQUEST_TYPES
from mosaic_assets.work import CheckOutcome, Work
from mosaic_resources.delta.changes import changes
from mosaic_resources.errors import UserError, missing_extra

__all__ = ["NO_SKEW", "Skew", "measure_skew", "skew_of_new_rows"]

NO_SKEW = "no_skew"
ASKED_AT, REQUEST_ID = "asked_at", "request_id"
NUM_EXAMPLES = 5


@dataclass(frozen=True)
class Skew:
    """What a comparison found.

    Args:
        num_rows: Rows that were compared.
        num_skewed: Rows of which at least one feature differs.
        columns: Feature → rows in which it differs, most first; only those that do.
        request_ids: Some requests with a difference.
    """

    num_rows: int
    num_skewed: int = 0
    columns: Mapping[str, int] = field(default_factory=dict)
    request_ids: tuple[str, ...] = ()


def skew_of_new_rows(
    work: Work, table: str, before: int | None, request: Mapping[str, str], service: FeatureService
) -> CheckOutcome:
    """Returns the check of the rows that came into an inference table after version ``before`` (None: all)."""
    lake = work.seams.lake
    version = lake.version(table)
    views = [view.source for view, _ in service.views]
    if version is None or version == before or not all(lake.exists(view) for view in views):
        return CheckOutcome(NO_SKEW, True, "No new request to replay.", {"rows_compared": 0})
    rows = lake.read(table, version) if before is None else changes(lake, table, before + 1, version)
    versions = {view: lake.open(view).version() for view in views}
    try:
        for view, pinned in versions.items():
            work.uses(view, pinned)
    except UserError as exc:  # A view's partition is blocked; the log is kept whatever.
        return CheckOutcome(NO_SKEW, False, f"Not compared: {exc}", {"rows_compared": 0})
    found = measure_skew(rows, request, service, lambda view: lake.read(view.source, versions[view.source]))
    said = f"{found.num_skewed} of {found.num_rows} rows differ"
    told: dict[str, Any] = {"rows_compared": found.num_rows, "rows_skewed": found.num_skewed}
    if found.num_skewed:
        told |= {"rows_by_feature": dict(found.columns), "request_ids": list(found.request_ids)}
    return CheckOutcome(NO_SKEW, not found.num_skewed, said, told)


def measure_skew(
    log: pa.Table,
    request: Mapping[str, str],
    service: FeatureService,
    read_view: Callable[[FeatureView], pa.Table],
) -> Skew:
    """Replays answered requests through the join and counts what differs; every value counts, to the last bit.

    A NaN is logged as NULL, so the two count as equal. A feature that the logged answers do not hold
    (another version of the service gave them) is passed over.

    Args:
        log: Rows of the inference table.
        request: Field → type of a request.
        service: The features that the service looks up.
        read_view: Returns a view's rows.
    """
    answered = log.filter(pc.equal(log["status_code"], 200))
    looked_up = _looked_up(answered, service)
    if not looked_up:
        return Skew(0)
    asked = _asked(answered, request)
    joined = get_historical_features(asked, service, read_view, ASKED_AT)
    differs = {name: _differs(values, joined[name].combine_chunks()) for name, values in looked_up.items()}
    any_differs = np.logical_or.reduce(list(differs.values()))
    counts = {name: int(found.sum()) for name, found in differs.items() if found.any()}
    ids = asked[REQUEST_ID].filter(pa.array(any_differs)).unique().to_pylist()
    ordered = dict(sorted(counts.items(), key=lambda pair: -pair[1]))
    return Skew(asked.num_rows, int(any_differs.sum()), ordered, tuple(ids[:NUM_EXAMPLES]))


def _asked(log: pa.Table, request: Mapping[str, str]) -> pa.Table:
    """Returns one row for each asked row: the request's fields, ``asked_at``, ``request_id``."""
    try:
        from bento.requests import MLFLOW_FORMS, parse_invocations, parse_predict
    except ImportError as exc:
        raise missing_extra("orjson", "serve") from exc
    from mosaic_resources.bentos.specification import RequestField

    fields = [RequestField(name=name, type=kind) for name, kind in request.items()]  # type: ignore[arg-type]
    values: dict[str, list[Any]] = {name: [] for name in (*request, ASKED_AT, REQUEST_ID)}
    for row in log.select([REQUEST_ID, "request", "timestamp_ms"]).to_pylist():
        body = row["request"].encode()
        content = json.loads(body)
        mlflow = isinstance(content, dict) and any(form in content for form in MLFLOW_FORMS)
        parsed = (parse_invocations if mlflow else parse_predict)(body, fields)
        for name in request:
            values[name].extend(parsed.columns[name].tolist())
        values[ASKED_AT].extend([row["timestamp_ms"] * 1000] * parsed.num_rows)
        values[REQUEST_ID].extend([row[REQUEST_ID]] * parsed.num_rows)
    kinds = {name: REQUEST_TYPES[kind] for name, kind in request.items()}
    kinds |= {ASKED_AT: pa.timestamp("us", tz="UTC"), REQUEST_ID: pa.string()}
    return pa.table({name: pa.array(values[name], kind, from_pandas=True) for name, kind in kinds.items()})


def _looked_up(log: pa.Table, service: FeatureService) -> dict[str, pa.Array]:
    """Returns the logged features as typed columns, one value for each asked row."""
    rows = [row for text in log["features"].to_pylist() for row in json.loads(text)]
    kinds = {
        f"{view.name}__{feature.name}": FEATURE_TYPES[feature.dtype] for view, used in service.views for feature in used
    }
    common = [name for name in service.columns if rows and all(name in row for row in rows)]
    return {name: _typed([row[name] for row in rows], kinds[name]) for name in common}


def _typed(values: list[Any], kind: pa.DataType) -> pa.Array:
    if not pa.types.is_timestamp(kind):
        return pa.array(values, kind)
    from bento.requests import parse_time_us

    return pa.array([None if value is None else parse_time_us(value) for value in values], pa.int64()).cast(kind)


def _differs(logged: pa.Array, joined: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Returns (rows,) bool; NULL equals NULL alone."""
    if pa.types.is_floating(joined.type):
        joined = pc.if_else(pc.is_nan(joined), pa.scalar(None, joined.type), joined)
    same = pc.if_else(pc.and_(pc.is_valid(logged), pc.is_valid(joined)), pc.equal(logged, joined), False)
    both_null = pc.and_(pc.is_null(logged), pc.is_null(joined))
    return ~np.asarray(pc.or_(pc.fill_null(same, False), both_null))
