"""From a component's function to a Dagster asset: one shape for every station."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from mosaic_assets.asset_fields import AssetFields
from mosaic_assets.lineage.record import StepIdentity
from mosaic_assets.lineage.step import step
from mosaic_assets.orchestration.check_events import check_events, log_partial
from mosaic_assets.work import BlockedError, Link, Made, Markdown, Work, table_use
from mosaic_resources.delta.changes import commits
from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.schema import schema_rows
from mosaic_resources.errors import extras_named
from mosaic_resources.seams import Seams
from mosaic_resources.settings.clock import now_utc

__all__ = ["asset_step", "materialize_result", "station"]

PREVIEW_ROWS = 5
NUM_COMMITS = 10


def station(
    fields: AssetFields,
    *,
    key: str,
    station_name: str,
    kinds: Sequence[str],
    deps: Sequence[str],
    code: str,
    run: Callable[[Work], Made],
    check_specs: Sequence[dg.AssetCheckSpec] = (),
    metadata: Mapping[str, Any] | None = None,
) -> dg.AssetsDefinition:
    """Returns the asset whose step runs ``run``.

    Args:
        fields: The component; its shared fields become the asset's attributes.
        key: Asset key as text, ``tables/flights``.
        station_name: Default group.
        kinds: Kinds of this sort of asset; at most three are shown.
        deps: Keys of the assets that it reads.
        code: Default code version.
        run: What the step does.
        check_specs: Checks whose outcomes ``run`` returns.
        metadata: Metadata of the definition, beside the component's own.
    """
    asset_key = dg.AssetKey(key.split("/"))
    code_version = fields.code_version or code

    @dg.asset(
        key=asset_key,
        deps=[dg.AssetKey(dep.split("/")) for dep in deps],
        description=fields.description,
        owners=list(fields.owners) or None,
        tags={"mosaic/station": station_name, **fields.tags},
        group_name=fields.group_name or station_name,
        kinds=set([*kinds, *fields.kinds][:3]),
        metadata={**(metadata or {}), **fields.metadata},
        code_version=code_version,
        automation_condition=fields.automation_condition,
        partitions_def=fields.partitions_def,
        backfill_policy=dg.BackfillPolicy.single_run() if fields.partitions_def else None,
        check_specs=list(check_specs),
        required_resource_keys={"mosaic"},
    )
    def body(context: dg.AssetExecutionContext) -> Iterator[Any]:
        try:
            with asset_step(context, code_version) as work:
                made = _completed(_run(work, fields, run), work.seams)
                _record_output(work, made)
        except BlockedError as exc:
            result = materialize_result(exc.made, context.resources.mosaic.seams) if exc.made else None
            log_partial(context, exc.checks, result, exc.published)
            raise
        yield materialize_result(made, work.seams)
        yield from check_events(context, made.checks)

    return body


def _run(work: Work, fields: AssetFields, run: Callable[[Work], Made]) -> Made:
    if not getattr(fields, "exploration", False):
        return run(work)
    from mosaic_assets.exploration.step import explored

    return explored(work, run, getattr(fields, "label", None), getattr(fields, "timestamp_field", None))


@contextmanager
def asset_step(context: dg.AssetExecutionContext, code_version: str = "") -> Iterator[Work]:
    """Yields what a step of an asset is given, inside its lineage run; for an asset written in Python too.

    Args:
        context: Dagster's context; the asset requires the resource ``mosaic``.
        code_version: Hash of what is declared.

    Example:
        A Python asset that tells what it wrote::

            @dg.asset(required_resource_keys={"mosaic"})
            def report(context: dg.AssetExecutionContext) -> None:
                with asset_step(context) as work:
                    rows = work.read_table("tables/flights")
    """
    seams: Seams = context.resources.mosaic.seams
    partitions = tuple(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else ()
    window = _window(context, partitions)
    identity = StepIdentity(
        dagster_run_id=context.run.run_id,
        asset_key=context.asset_key.to_user_string(),
        partition=",".join(partitions) or None,
        window_start=window[0] if window else None,
        window_end=window[1] if window else None,
        code_version=code_version,
        namespace=seams.settings.openlineage_namespace,
        job_name=context.job_name,
    )
    now = now_utc(seams.settings.state)
    with step(identity, seams.outbox, clock=lambda: datetime.now(UTC)) as record, extras_named():
        record.engine(*seams.engine_name)
        yield Work(
            seams, record, identity.asset_key, context.run.run_id, partitions, window, code_version, now, context.log,
            _windows(context, partitions),
        )  # fmt: skip


def _window(context: dg.AssetExecutionContext, partitions: Sequence[str]) -> tuple[datetime, datetime] | None:
    if not partitions or not isinstance(context.assets_def.partitions_def, dg.TimeWindowPartitionsDefinition):
        return None
    window = context.partition_time_window
    return window.start.astimezone(UTC), window.end.astimezone(UTC)


def _windows(context: dg.AssetExecutionContext, partitions: Sequence[str]) -> dict[str, tuple[datetime, datetime]]:
    definition = context.assets_def.partitions_def
    if not isinstance(definition, dg.TimeWindowPartitionsDefinition):
        return {}
    windows = {key: definition.time_window_for_partition_key(key) for key in partitions}
    return {key: (window.start.astimezone(UTC), window.end.astimezone(UTC)) for key, window in windows.items()}


def _completed(made: Made, seams: Seams) -> Made:
    """Returns what was made, with what the table itself says where the step did not: rows, schema, first rows."""
    if made.table is None or not isinstance(made.version, int):
        return made
    lake, table, version = seams.lake, made.table, made.version
    return replace(
        made,
        num_rows=lake.num_rows(table, version) if made.num_rows is None else made.num_rows,
        schema=lake.schema(table, version) if made.schema is None else made.schema,
        preview=lake.head(table, PREVIEW_ROWS, version) if made.preview is None else made.preview,
    )


def _record_output(work: Work, made: Made) -> None:
    if made.table is None:
        return
    lake = work.seams.lake
    uri = lake.uri(made.table)
    version = made.version if isinstance(made.version, int) else None
    read = {use.asset_key for use in work.lineage.inputs}  # Landed files stand in Dagster's lineage alone.
    columns = {
        column: told
        for column, sources in (made.columns or {}).items()
        if (told := [(lake.uri(table), name) for table, name in sources if table in read])
    }
    work.lineage.wrote(table_use(uri, made.table, version, made.schema, made.num_rows), columns=columns)
    for check in made.checks:
        work.lineage.checked(check.name, check.passed, blocking=check.blocking)


def materialize_result(made: Made, seams: Seams) -> dg.MaterializeResult[Any]:
    """Returns Dagster's result: the version as data version, the standard metadata filled, a preview."""
    metadata: dict[str, Any] = dict(made.metadata)
    if made.table is not None:
        metadata |= {
            "dagster/table_name": made.table,
            "dagster/uri": seams.lake.uri(made.table),
            "delta_version": made.version,
            "commits": _commits(seams.lake, made.table),
        }
    elif made.address is not None:
        metadata["dagster/uri"] = made.address
    if made.num_rows is not None:
        metadata["dagster/row_count"] = made.num_rows
    if made.schema is not None:
        columns = [dg.TableColumn(name, kind) for name, kind in schema_rows(made.schema)]
        metadata["dagster/column_schema"] = dg.TableSchema(columns=columns)
    if made.columns:
        metadata["dagster/column_lineage"] = dg.TableColumnLineage(
            {
                column: [dg.TableColumnDep(dg.AssetKey(table.split("/")), name) for table, name in sources]
                for column, sources in made.columns.items()
            }
        )
    if made.preview is not None:
        metadata["preview"] = dg.MetadataValue.md(_markdown(made.preview.slice(0, PREVIEW_ROWS)))
    return dg.MaterializeResult(
        metadata={name: _shown(value) for name, value in metadata.items() if value is not None},
        data_version=dg.DataVersion(str(made.version)) if made.version is not None else None,
    )


def _commits(lake: Lake, table: str) -> dg.TableMetadataValue:
    """Returns the table's newest commits: what was done, by which run and code."""
    shown: list[dict[str, str | int | float | bool | None]] = [
        {"version": one.version, "at": one.at_utc.isoformat(timespec="seconds"), "operation": one.operation,
         "run": one.run_id, "asset": one.asset, "partition": one.partition, "code_version": one.code_version}
        for one in commits(lake, table, NUM_COMMITS)
    ]  # fmt: skip
    return dg.MetadataValue.table([dg.TableRecord(row) for row in shown])


def _shown(value: Any) -> Any:
    if isinstance(value, Markdown):
        return dg.MetadataValue.md(value.text)
    return dg.MetadataValue.url(value.url) if isinstance(value, Link) else value


def _markdown(rows: pa.Table) -> str:
    lines = [" | ".join(rows.column_names), " | ".join("---" for _ in rows.column_names)]
    lines += [" | ".join(str(value).replace("|", "\\|") for value in row.values()) for row in rows.to_pylist()]
    return "\n".join(f"| {line} |" for line in lines)
