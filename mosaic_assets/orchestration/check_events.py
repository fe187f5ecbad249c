"""Verdicts of checks as Dagster's events, each with its partition and the materialization that it is about."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluation,
    AssetCheckEvaluationTargetMaterializationData,
)

from mosaic_assets.work import CheckOutcome

__all__ = ["check_events", "log_partial"]


def check_events(context: dg.AssetExecutionContext, outcomes: Sequence[CheckOutcome]) -> Iterator[Any]:
    """Yields the evaluation of each check, and the outputs that steps downstream wait for.

    A result that is returned with a range of partitions would carry none of them, so the events are made here.

    Args:
        context: Dagster's context, after the materialization was yielded.
        outcomes: The verdicts.
    """
    yield from _evaluations(context, outcomes)
    for name in context.assets_def.check_specs_by_output_name:
        if name in context.op_execution_context.selected_output_names:
            yield dg.Output(None, output_name=name)


def log_partial(
    context: dg.AssetExecutionContext,
    outcomes: Sequence[CheckOutcome],
    result: "dg.MaterializeResult[Any] | None",
    partitions: Sequence[str],
) -> None:
    """Tells of a step that is about to fail which partitions it published, and every verdict.

    Args:
        context: Dagster's context.
        outcomes: The verdicts.
        result: What was published; None: nothing.
        partitions: Partitions of it.
    """
    for partition in partitions if result is not None else ():
        assert result is not None
        tags = {"dagster/data_version": result.data_version.value} if result.data_version else {}
        context.log_event(
            dg.AssetMaterialization(context.asset_key, metadata=result.metadata, partition=partition, tags=tags)
        )
    for evaluation in _evaluations(context, outcomes):
        context.log_event(evaluation)


def _evaluations(context: dg.AssetExecutionContext, outcomes: Sequence[CheckOutcome]) -> Iterator[AssetCheckEvaluation]:
    targets: dict[str | None, AssetCheckEvaluationTargetMaterializationData | None] = {}
    blocking = {spec.name: spec.blocking for spec in context.assets_def.check_specs}
    for outcome in outcomes:
        key = outcome.partition
        if key not in targets:
            targets[key] = _target(context, key)
        yield AssetCheckEvaluation(
            asset_key=context.asset_key,
            check_name=outcome.name,
            passed=outcome.passed,
            metadata=dict(outcome.metadata),
            target_materialization_data=targets[key],
            severity=dg.AssetCheckSeverity.ERROR if outcome.blocking else dg.AssetCheckSeverity.WARN,
            description=outcome.description or None,
            blocking=blocking.get(outcome.name, False),
            partition=key,
        )


def _target(
    context: dg.AssetExecutionContext, partition: str | None
) -> AssetCheckEvaluationTargetMaterializationData | None:
    wanted = dg.AssetRecordsFilter(
        asset_key=context.asset_key, asset_partitions=None if partition is None else [partition]
    )
    records = context.instance.fetch_materializations(wanted, limit=1).records
    if not records:
        return None
    (record,) = records
    return AssetCheckEvaluationTargetMaterializationData(
        run_id=record.event_log_entry.run_id, storage_id=record.storage_id, timestamp=record.timestamp
    )
