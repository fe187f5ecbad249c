"""What a step says of itself: who ran, what it read, what it wrote. Plain data; no OpenLineage, no Dagster."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

__all__ = ["Assertion", "ColumnSources", "DatasetUse", "Kind", "StepEvent", "StepIdentity", "StepRecord"]

# Namespace of our run ids; any fixed UUID does, and it must never change.
RUN_NAMESPACE = uuid.UUID("6f0c2a3e-8a0b-5d52-9d5e-3f2f6c1b7a10")

Kind = Literal["START", "COMPLETE", "FAIL", "ABORT"]
ColumnSources = Mapping[str, Sequence[tuple[str, str, str]]]


@dataclass(frozen=True)
class StepIdentity:
    """Who runs: one asset (of one partition) in one Dagster run.

    Args:
        dagster_run_id: Dagster's run, the parent of this one.
        asset_key: Asset key as text, ``tables/flights``; the name of the lineage job.
        partition: Partition key, several joined by ``,``; None without partitions.
        window_start: Start of the time that the partitions cover (aware), or None.
        window_end: Its end, exclusive: for a month, the first of the next.
        code_version: Hash of what is declared.
        namespace: Namespace of the lineage jobs.
        job_name: Name of the Dagster job that the run belongs to.
    """

    dagster_run_id: str
    asset_key: str
    partition: str | None
    window_start: datetime | None
    window_end: datetime | None
    code_version: str
    namespace: str = "mosaic"
    job_name: str = "dagster"

    @property
    def run_id(self) -> str:
        """Lineage run id: the same for the same Dagster run, asset and partition, so a resend is recognized."""
        return str(uuid.uuid5(RUN_NAMESPACE, "\0".join((self.dagster_run_id, self.asset_key, self.partition or ""))))

    @property
    def checks_run_id(self) -> str:
        """Run id of the step's checks."""
        return str(uuid.uuid5(RUN_NAMESPACE, f"{self.run_id}\0checks"))

    @property
    def parent_run_id(self) -> str:
        """Dagster's run id as a UUID."""
        try:
            return str(uuid.UUID(self.dagster_run_id))
        except ValueError:
            return str(uuid.uuid5(RUN_NAMESPACE, self.dagster_run_id))


@dataclass(frozen=True)
class DatasetUse:
    """One dataset at one version, read or written.

    Args:
        namespace: Where it lives, by OpenLineage's naming rules (``file``, ``s3://bucket``).
        name: Its name there, for a file the absolute path.
        version: Version read or written, as text; None where it has none.
        fields: ``(column, type)`` pairs.
        uri: Address.
        row_count: Rows; None: not counted.
        asset_key: Key of the asset that makes it; empty for what no asset makes.
        facets: Facet name → its values; the names that ``facets.py`` knows.
    """

    namespace: str
    name: str
    version: str | None = None
    fields: Sequence[tuple[str, str]] = ()
    uri: str = ""
    row_count: int | None = None
    asset_key: str = ""
    facets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name, which name the dataset at any version."""
        return self.namespace, self.name


@dataclass(frozen=True)
class Assertion:
    """The outcome of one check of what the step wrote."""

    name: str
    passed: bool
    column: str | None = None
    blocking: bool = False


@dataclass
class StepRecord:
    """Everything that a step has said so far.

    Args:
        identity: Who runs.
        inputs: What it read, each (dataset, version) once.
        outputs: What it wrote.
        columns: Output's (namespace, name) → column → (input namespace, input name, input column).
        assertions: Outcomes of its checks.
        facets: Run facet name → its values.
        engine: Name and version of what computed the rows.
        output_facets: Facet name → its values, for everything that it writes.
    """

    identity: StepIdentity
    inputs: list[DatasetUse] = field(default_factory=list)
    outputs: list[DatasetUse] = field(default_factory=list)
    columns: dict[tuple[str, str], ColumnSources] = field(default_factory=dict)
    assertions: list[Assertion] = field(default_factory=list)
    facets: dict[str, Mapping[str, object]] = field(default_factory=dict)
    engine: tuple[str, str] | None = None
    output_facets: dict[str, Mapping[str, object]] = field(default_factory=dict)


@dataclass(frozen=True)
class StepEvent:
    """One moment of a step: its start, or its end with everything that it said.

    Args:
        kind: START, then COMPLETE, FAIL or ABORT.
        at: When, aware.
        record: What the step had said by then.
        error: Message and stack trace of what made it fail, without secrets.
    """

    kind: Kind
    at: datetime
    record: StepRecord
    error: tuple[str, str] | None = None
