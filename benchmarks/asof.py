"""Race: 1 M labels joined, as known, with 10 M events (5% known late, ties, TTL 7 days); from Delta to Arrow.

Equal contenders do the bitemporal job. Plain ASOF joins are printed as unequal: they leak rows known too late.
Source of the reduction that DuckDB and Polars use: drop an event if a later one, in (event, known) order of its key,
is visible no later; what remains is an ordinary ASOF join on the time of visibility.
"""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from benchmarks.harness import Contender

PEERS = [
    "duckdb==2.0.0",
    "polars==2.1.0",
    "pyarrow==25.0.1",
    "numpy==2.2.6",
    "deltalake==1.6.6",
    "psutil",
    "pandas==2.3.3",
]
CASES = {
    "uniform": {"views": 1, "skew": "uniform"},
    "zipf 1.2": {"views": 1, "skew": "zipf"},
    "one key 10%": {"views": 1, "skew": "hot"},
    "3 views": {"views": 3, "skew": "uniform"},
    "clustered": {"views": 1, "skew": "uniform", "clustered": True},
    "1 M events": {"views": 1, "skew": "uniform", "events": 1_000_000},
    "100 M events": {"views": 1, "skew": "uniform", "events": 100_000_000},
}
CONTENDERS = {
    "mosaic": Contender(ours=True, peers=False),
    "duckdb bitemporal": Contender(),
    "polars bitemporal": Contender(),
    "duckdb plain ASOF": Contender(equal=False),
}
LABELS, EVENTS, KEYS = 1_000_000, 10_000_000, 100_000
DAY_US = 86_400_000_000
START_US = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
TTL = timedelta(days=7)
SEED = 20240101


def prepare(folder: Path, case: str) -> None:
    """Writes the case's Delta tables once, ``labels`` and ``events_<view>``."""
    if (folder / "done").exists():
        return
    how: dict[str, Any] = CASES[case]
    rng = np.random.default_rng(SEED)
    labels = pa.table(
        {
            "id": np.arange(LABELS),
            "k": _keys(rng, LABELS, how["skew"]),
            "at": _times(START_US + rng.integers(0, 60 * DAY_US, LABELS)),
        }
    )
    write_deltalake(str(folder / "labels"), labels, mode="overwrite")
    for number in range(how["views"]):
        left, mode = how.get("events", EVENTS), "overwrite"
        while left:
            rows = _events(rng, min(left, EVENTS), how["skew"])
            rows = rows.sort_by([("k", "ascending"), ("event_ts", "ascending")]) if how.get("clustered") else rows
            write_deltalake(str(folder / f"events_{number}"), rows, mode=mode)  # type: ignore[call-overload]
            left, mode = left - rows.num_rows, "append"
    (folder / "done").touch()


def run(
    contender: str, folder: Path, case: str
) -> tuple[Callable[[], pa.Table], Callable[[pa.Table], tuple[str, dict[str, Any]]]]:
    """Returns the timed part of a contender, and what describes its output."""
    num_views = CASES[case]["views"]
    work = {
        "mosaic": _mosaic,
        "duckdb bitemporal": _duckdb,
        "polars bitemporal": _polars,
        "duckdb plain ASOF": _duckdb_plain,
    }
    return work[contender](folder, num_views), _describe


def _mosaic(folder: Path, num_views: int) -> Callable[[], pa.Table]:
    from mosaic_assets.features.historical import get_historical_features
    from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, FeatureView, Field
    from mosaic_resources.delta.lake import Lake
    from mosaic_resources.delta.writers import DeltaRsWriter

    fields = (Field("x", "float64"), Field("y", "float64"))
    views = [
        FeatureView(f"v{number}", (Entity("e", ("k",)),), fields, f"events_{number}", ttl=TTL)
        for number in range(num_views)
    ]
    service = FeatureService.of("race", views, [FeatureRef.parse(f"{view.name}:*") for view in views])

    lake = Lake(str(folder), DeltaRsWriter())

    def join() -> pa.Table:
        return get_historical_features(lake.read("labels"), service, lambda view: lake.read(view.source), "at")

    return join


def _duckdb(folder: Path, num_views: int) -> Callable[[], pa.Table]:
    return lambda: _by_duckdb(folder, num_views, bitemporal=True)


def _duckdb_plain(folder: Path, num_views: int) -> Callable[[], pa.Table]:
    return lambda: _by_duckdb(folder, num_views, bitemporal=False)


def _by_duckdb(folder: Path, num_views: int, *, bitemporal: bool) -> pa.Table:
    import duckdb

    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'")
    columns = ["labels.id"]
    joins = []
    for number in range(num_views):
        events = f"read_parquet({_files(folder / f'events_{number}')})"
        if bitemporal:
            events = f"""(
              select *, greatest(event_ts, known_ts) as v from {events}
              qualify v < coalesce(min(greatest(event_ts, known_ts)) over (
                partition by k order by event_ts, known_ts rows between 1 following and unbounded following),
                timestamptz '9999-01-01'))"""
            on = f"labels.k = e{number}.k and labels.at >= e{number}.v"
        else:
            on = f"labels.k = e{number}.k and labels.at >= e{number}.event_ts"
        fresh = f"e{number}.event_ts >= labels.at - interval {TTL.days} days"
        columns += [f"case when {fresh} then e{number}.{name} end as v{number}__{name}" for name in ("x", "y")]
        joins.append(f"asof left join {events} e{number} on {on}")
    labels = f"read_parquet({_files(folder / 'labels')}) labels"
    return connection.execute(f"select {', '.join(columns)} from {labels} {' '.join(joins)}").to_arrow_table()


def _polars(folder: Path, num_views: int) -> Callable[[], pa.Table]:
    import polars as pl

    def join() -> pa.Table:
        labels = pl.scan_parquet(_files(folder / "labels")).sort("k", "at")
        for number in range(num_views):
            events = (
                pl.scan_parquet(_files(folder / f"events_{number}"))
                .with_columns(v=pl.max_horizontal("event_ts", "known_ts"))
                .sort("k", "event_ts", "known_ts")
                .with_columns(later=pl.col("v").reverse().cum_min().reverse().shift(-1).over("k"))
                .filter(pl.col("later").is_null() | (pl.col("v") < pl.col("later")))
                .select("k", "v", f_event="event_ts", **{f"v{number}__x": "x", f"v{number}__y": "y"})
                .sort("k", "v")
            )
            labels = labels.join_asof(events, left_on="at", right_on="v", by="k", check_sortedness=False)
            fresh = pl.col("f_event") >= pl.col("at") - TTL
            labels = labels.with_columns(
                pl.when(fresh).then(pl.col(name)).alias(name) for name in (f"v{number}__x", f"v{number}__y")
            ).drop("f_event", "v")
        return labels.drop("k", "at").collect().to_arrow()

    return join


def _describe(made: pa.Table) -> tuple[str, dict[str, Any]]:
    made = made.sort_by("id")
    digest = hashlib.sha256()
    for name in sorted(column for column in made.column_names if "__" in column):
        values = made[name].combine_chunks()
        digest.update(np.asarray(values.is_valid()).tobytes())
        digest.update(np.nan_to_num(values.to_numpy(zero_copy_only=False)).tobytes())
    return digest.hexdigest()[:16], {"rows": made.num_rows}


def _events(rng: np.random.Generator, num_rows: int, skew: str) -> pa.Table:
    event = START_US + rng.integers(0, 60 * DAY_US, num_rows)
    coarse = rng.random(num_rows) < 0.05  # whole hours: many share their event time
    event[coarse] -= event[coarse] % 3_600_000_000
    known = event + rng.integers(0, 60_000_000, num_rows)
    late = rng.random(num_rows) < 0.05
    known[late] += rng.integers(0, 3 * DAY_US, int(late.sum()))
    return pa.table(
        {
            "k": _keys(rng, num_rows, skew),
            "event_ts": _times(event),
            "known_ts": _times(known),
            "x": rng.random(num_rows),
            "y": rng.random(num_rows),
        }
    )


def _keys(rng: np.random.Generator, num_rows: int, skew: str) -> np.ndarray:
    if skew == "zipf":
        return (rng.zipf(1.2, num_rows).astype(np.uint64) % KEYS).astype(np.int64)
    keys = rng.integers(0, KEYS, num_rows)
    if skew == "hot":
        keys[rng.random(num_rows) < 0.1] = 7
    return keys


def _times(us: np.ndarray) -> pa.Array:
    return pa.array(us, pa.timestamp("us", tz="UTC"))


def _files(table: Path) -> list[str]:
    return [uri.removeprefix("file://") for uri in DeltaTable(str(table)).file_uris()]
