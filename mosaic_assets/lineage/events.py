"""From what a step said to OpenLineage events (spec 2-0-2), built with openlineage-python's own classes.

Runs in the drainer: a step stores what it said as plain JSON and never imports this.
"""

from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from openlineage.client import facet_v2 as standard
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.serde import Serde

from mosaic_assets.lineage.facets import DATASET_FACETS, PRODUCER, RUN_FACETS, make_facet
from mosaic_assets.lineage.record import ColumnSources, DatasetUse, StepEvent, StepRecord
from mosaic_assets.lineage.stored import load

__all__ = ["encode", "events_of"]

standard.set_producer(PRODUCER)  # openlineage-python keeps the producer of facets in one variable of its own


def events_of(moment: StepEvent) -> list[RunEvent]:
    """Returns the OpenLineage events of one moment of a step: its own, and with its end those of its checks.

    A start tells who runs; an end also what was read and written.
    """
    record, ended = moment.record, moment.kind != "START"
    own = RunEvent(
        eventTime=_iso(moment.at),
        eventType=RunState(moment.kind),
        run=Run(record.identity.run_id, facets=_run_facets(record, moment.error)),
        job=_job(record, record.identity.asset_key, "ASSET"),
        inputs=[_input(use) for use in record.inputs] if ended else [],
        outputs=[_output(use, record.columns.get(use.key)) for use in record.outputs] if ended else [],
        producer=PRODUCER,
    )
    return [own, *(_check_events(record, moment.at) if ended else [])]


def encode(body: str) -> list[str]:
    """Returns the OpenLineage events, as JSON text, of a stored moment of a step."""
    return [Serde.to_json(event) for event in events_of(load(body))]


def _check_events(record: StepRecord, at: datetime) -> list[RunEvent]:
    """Returns start and end of the run of a step's checks: a child of the step, reading what the step wrote.

    The specification knows assertions on inputs alone, hence a run of their own.
    """
    if not record.assertions or not record.outputs:
        return []
    quality, identity = standard.data_quality_assertions_dataset, record.identity
    outcomes = [
        quality.Assertion(check.name, check.passed, column=check.column, severity="error" if check.blocking else "warn")
        for check in record.assertions
    ]
    checked = _input(record.outputs[0])
    checked.inputFacets = {"dataQualityAssertions": quality.DataQualityAssertionsDatasetFacet(outcomes)}
    run = Run(
        identity.checks_run_id, facets={"parent": _parent(identity.run_id, identity.namespace, identity.asset_key)}
    )
    job = _job(record, f"{identity.asset_key}.checks", "CHECK")
    return [
        RunEvent(
            eventTime=_iso(at), eventType=RunState(kind), run=run, job=job, inputs=inputs, outputs=[], producer=PRODUCER
        )
        for kind, inputs in (("START", []), ("COMPLETE", [checked]))
    ]


def _run_facets(record: StepRecord, error: tuple[str, str] | None) -> dict[str, Any]:
    identity = record.identity
    step = {
        "assetKey": identity.asset_key,
        "dagsterRunId": identity.dagster_run_id,
        "codeVersion": identity.code_version,
        "partition": identity.partition,
    }
    name, engine_version = record.engine or ("dagster", _version("dagster"))
    facets: dict[str, Any] = {
        "parent": _parent(identity.parent_run_id, identity.namespace, identity.job_name),
        "processing_engine": standard.processing_engine_run.ProcessingEngineRunFacet(
            engine_version, name, _version("openlineage-python")
        ),
        "mosaic_step": make_facet("mosaic_step", step, RUN_FACETS),
    }
    if identity.window_start is not None:
        end = None if identity.window_end is None else _iso(identity.window_end)
        facets["nominalTime"] = standard.nominal_time_run.NominalTimeRunFacet(_iso(identity.window_start), end)
    for facet, values in record.facets.items():
        facets[facet] = make_facet(facet, values, RUN_FACETS)
    if error is not None:
        message, trace = error
        facets["errorMessage"] = standard.error_message_run.ErrorMessageRunFacet(message, "PYTHON", trace)
    return facets


def _parent(run_id: str, namespace: str, name: str) -> Any:
    parent = standard.parent_run
    return parent.ParentRunFacet(parent.Run(run_id), parent.Job(namespace, name))


def _job(record: StepRecord, name: str, kind: str) -> Job:
    job_type = standard.job_type_job.JobTypeJobFacet("BATCH", "DAGSTER", kind)
    return Job(record.identity.namespace, name, facets={"jobType": job_type})


def _input(use: DatasetUse) -> InputDataset:
    return InputDataset(use.namespace, use.name, facets=_dataset_facets(use))


def _output(use: DatasetUse, columns: ColumnSources | None) -> OutputDataset:
    facets = _dataset_facets(use)
    if columns:
        lineage = standard.column_lineage_dataset
        fields = {
            column: lineage.Fields([lineage.InputField(*source) for source in sources])
            for column, sources in columns.items()
        }
        facets["columnLineage"] = lineage.ColumnLineageDatasetFacet(fields)
    statistics = standard.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet
    counted: dict[str, Any] = {} if use.row_count is None else {"outputStatistics": statistics(rowCount=use.row_count)}
    return OutputDataset(use.namespace, use.name, outputFacets=counted, facets=facets)


def _dataset_facets(use: DatasetUse) -> dict[str, Any]:
    facets: dict[str, Any] = {}
    if use.fields:
        schema = standard.schema_dataset
        fields = [schema.SchemaDatasetFacetFields(name, kind) for name, kind in use.fields]
        facets["schema"] = schema.SchemaDatasetFacet(fields)
    if use.version is not None:
        facets["version"] = standard.dataset_version_dataset.DatasetVersionDatasetFacet(use.version)
    if use.uri:
        facets["dataSource"] = standard.datasource_dataset.DatasourceDatasetFacet(use.namespace, use.uri)
    if use.asset_key:
        facets["mosaic_asset"] = make_facet("mosaic_asset", {"assetKey": use.asset_key}, DATASET_FACETS)
    for name, values in use.facets.items():
        facets[name] = make_facet(name, values, DATASET_FACETS)
    return facets


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@lru_cache(maxsize=8)
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
