"""What a step is given and what it made: the plain-Python side of a station."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pyarrow as pa

from mosaic_assets.lineage.names import table_dataset
from mosaic_assets.lineage.record import DatasetUse
from mosaic_assets.lineage.step import Step
from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.schema import schema_rows
from mosaic_resources.errors import UserError
from mosaic_resources.seams import Seams

__all__ = [
    "COMPARISON",
    "SET_ASIDE",
    "BlockedError",
    "CheckOutcome",
    "Link",
    "Made",
    "Markdown",
    "Work",
    "code_hash",
    "table_use",
]


# Name of the metadata (and version tag) whose line `mosaic materialize` prints.
COMPARISON = "comparison"
# The same for a line on rows that are kept, but not where a reader looks for them.
SET_ASIDE = "set_aside"


@dataclass(frozen=True)
class CheckOutcome:
    """The verdict of one check on a partition, if any. ``blocking`` checks are errors, the others warnings."""

    name: str
    passed: bool
    description: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    blocking: bool = False
    partition: str | None = None


class BlockedError(UserError):
    """A blocking check failed in some partitions: nothing of them was published, the others were.

    Args:
        what: What failed, where, for instance.
        where: The asset.
        checks: All verdicts of the step.
        made: What was published; None: nothing.
        published: Partitions of that.
    """

    def __init__(
        self, what: str, where: str, checks: "Sequence[CheckOutcome]", made: "Made | None", published: Sequence[str]
    ) -> None:
        super().__init__(what, where, "Mend the rows or the rule, then run these partitions again.")
        self.checks, self.made, self.published = checks, made, published


@dataclass(frozen=True)
class Markdown:
    """Metadata that people read as Markdown: a card, a plot."""

    text: str


@dataclass(frozen=True)
class Link:
    """Metadata that leads to a page."""

    url: str


@dataclass(frozen=True)
class Made:
    """What a step made, before it is told to Dagster.

    Args:
        table: Table in the lake, or None for another kind of thing.
        version: Version of the thing: Delta version, model version, Bento tag.
        num_rows: Rows that the thing holds, if it has rows.
        schema: Its columns.
        columns: Output column → (input table, input column) pairs; None: not known.
        preview: First rows, for people.
        metadata: Further metadata by name; plain values, ``Markdown``, ``Link``, or Dagster's own.
        checks: Verdicts of the checks that were declared.
        address: Where a thing that is no table is.
    """

    table: str | None = None
    version: int | str | None = None
    num_rows: int | None = None
    schema: pa.Schema | None = None
    columns: Mapping[str, Sequence[tuple[str, str]]] | None = None
    preview: pa.Table | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    checks: Sequence[CheckOutcome] = ()
    address: str | None = None


@dataclass(frozen=True)
class Work:
    """What a step is given: seams, identity, clock.

    Args:
        seams: Everything that may be opened.
        lineage: Where inputs and outputs are told.
        asset: Asset key as text.
        run_id: Dagster run.
        partitions: Keys of this step, in order; empty for an asset without partitions.
        window: Start and end (UTC) that the partitions span.
        code_version: Hash of what is declared.
        now_utc: The step's time.
        log: Dagster's log.
        partition_windows: Partition → start and end (UTC), where partitions are times.
    """

    seams: Seams
    lineage: Step
    asset: str
    run_id: str
    partitions: tuple[str, ...]
    window: tuple[datetime, datetime] | None
    code_version: str
    now_utc: datetime
    log: logging.Logger
    partition_windows: Mapping[str, tuple[datetime, datetime]] = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, object]:
        """What a query may use of the step's partitions: keys (first and last, inclusive) and times (UTC)."""
        keys = (
            {"partition_key_start": self.partitions[0], "partition_key_end": self.partitions[-1]}
            if self.partitions
            else {}
        )
        times = {"partition_start": self.window[0], "partition_end": self.window[1]} if self.window else {}
        return {**keys, **times}

    def commit(self, app: str | None = None) -> Commit:
        """Returns the identity that this step commits under."""
        return Commit(
            app or self.asset, run_id=self.run_id, asset=self.asset,
            partition=",".join(self.partitions), code_version=self.code_version,
        )  # fmt: skip

    def read_table(
        self, name: str, version: int | None = None, columns: Sequence[str] | None = None, filters: Any = None
    ) -> pa.Table:
        """Returns rows of a table and records the use, with its version."""
        pinned = self.newest(name) if version is None else version
        self.uses(name, pinned)
        return self.seams.lake.read(name, pinned, columns, filters)

    def newest(self, name: str) -> int:
        """Returns the newest version of a table.

        Raises:
            UserError: The table has no rows yet, or a partition that this step reads failed a blocking check.
        """
        version = self.seams.lake.version(name)
        self._check_verdict(name, -1 if version is None else version)
        return self.seams.lake.open(name).version() if version is None else version

    def uses(self, name: str, version: int) -> None:
        """Records that this step reads ``version`` of table ``name``.

        Raises:
            UserError: A partition that this step reads failed a blocking check in its newest attempt.
        """
        self._check_verdict(name, version)
        lake = self.seams.lake
        self.lineage.reads(table_use(lake.uri(name), name, version, lake.schema(name, version)))

    def _check_verdict(self, name: str, version: int) -> None:
        # Dagster stops what is downstream in the same run alone; a run of the reader by itself comes here.
        self.seams.verdicts.check(name, version, self.asset, self.partitions, self.partition_windows)


def table_use(
    uri: str, name: str, version: int | None, schema: pa.Schema | None, num_rows: int | None = None
) -> DatasetUse:
    """Returns the lineage record of a Delta table at a version."""
    namespace, dataset = table_dataset(uri)
    fields = schema_rows(schema) if schema is not None else []
    return DatasetUse(
        namespace=namespace,
        name=dataset,
        version=None if version is None else str(version),
        fields=fields,
        uri=uri,
        row_count=num_rows,
        asset_key=name,
    )


def set_aside(num_rows: int, of_rows: int, what: str, where: str) -> dict[str, str]:
    """Returns the metadata line on rows that are kept, but not where a reader looks for them; none for no rows.

    Example:
        >>> set_aside(1, 60, "break a rule", "tables/trips__quarantine")
        {'set_aside': '1 of 60 rows break a rule: see tables/trips__quarantine'}
    """
    return {SET_ASIDE: f"{num_rows:,} of {of_rows:,} rows {what}: see {where}"} if num_rows else {}


def code_hash(*parts: object) -> str:
    """Returns a short hash of everything that decides what a step makes."""
    return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()[:16]
