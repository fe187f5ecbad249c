"""The one context manager that every component's step runs in: it records inputs and outputs as lineage events.

A step writes to the local outbox and never talks to the network. Nothing that goes wrong here reaches the step:
a rate-limited warning, a counter, and the step goes on.
"""

import logging
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

from mosaic_assets.lineage.names import fold_files, table_dataset
from mosaic_assets.lineage.record import Assertion, ColumnSources, DatasetUse, Kind, StepEvent, StepIdentity, StepRecord
from mosaic_assets.lineage.redact import clean_uri, redact
from mosaic_assets.lineage.stored import dump
from mosaic_resources.outbox.outbox import DatasetRef, NewEvent, Outbox

__all__ = ["LOST", "Step", "step"]

LOG = logging.getLogger("mosaic.lineage")
WARN_EVERY_SECONDS = 60.0
MAX_FILES = 1000
MAX_ERROR_CHARACTERS = 8000
# Events and facts that could not be recorded in this process, by the name of the error.
LOST: Counter[str] = Counter()
_warned: dict[str, float] = {}


class Step:
    """What a step says of its inputs and outputs while it runs.

    Args:
        identity: Who runs.
    """

    def __init__(self, identity: StepIdentity) -> None:
        self.record = StepRecord(identity)
        self._read: set[tuple[str, str, str | None]] = set()

    @property
    def inputs(self) -> Sequence[DatasetUse]:
        """What was read so far."""
        return tuple(self.record.inputs)

    @property
    def outputs(self) -> Sequence[DatasetUse]:
        """What was written so far."""
        return tuple(self.record.outputs)

    def reads(self, use: DatasetUse) -> None:
        """Records that the step reads a dataset at a version; the same one twice counts once."""
        if (*use.key, use.version) not in self._read:
            self._read.add((*use.key, use.version))
            self.record.inputs.append(_safe(use))

    def wrote(self, use: DatasetUse, columns: Mapping[str, Sequence[tuple[str, str]]] | None = None) -> None:
        """Records that the step wrote a dataset; of the same dataset the last record counts.

        Args:
            use: The dataset and the version that was made.
            columns: Output column → (address of the input table, its column); None: not known.
        """
        self.record.outputs = [other for other in self.record.outputs if other.key != use.key] + [_safe(use)]
        if columns:
            _softly(lambda: self.record.columns.update({use.key: _resolved(columns)}))

    def checked(self, name: str, passed: bool, column: str | None = None, *, blocking: bool = False) -> None:
        """Records the outcome of a check of what the step wrote."""
        self.record.assertions.append(Assertion(name, bool(passed), column, blocking))

    def facet(self, name: str, **values: object) -> None:
        """Adds one of our run facets, for instance ``mosaic_promotion``."""
        self.record.facets[name] = values

    def describe(self, name: str, **values: object) -> None:
        """Adds one of our dataset facets, for instance ``mosaic_manifest``, to what the step writes."""
        self.record.output_facets[name] = values

    def engine(self, name: str, version: str) -> None:
        """Records what computes the rows, for instance ``sail``; without it the engine is Dagster."""
        self.record.engine = (name, version)


def _safe(use: DatasetUse) -> DatasetUse:
    """Returns the use without credentials in its address."""
    return replace(use, uri=clean_uri(use.uri)) if "@" in use.uri or "?" in use.uri else use


def _resolved(columns: Mapping[str, Sequence[tuple[str, str]]]) -> ColumnSources:
    place = {uri: table_dataset(uri) for uri in {uri for sources in columns.values() for uri, _ in sources}}
    return {column: [(*place[uri], name) for uri, name in sources] for column, sources in columns.items()}


@contextmanager
def step(
    identity: StepIdentity, outbox: Outbox, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> Iterator[Step]:
    """Runs the body as one lineage run: START on entry, COMPLETE, FAIL or ABORT on exit.

    Args:
        identity: Who runs.
        outbox: Where the events wait.
        clock: Time of the events, aware.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> identity = StepIdentity("run", "tables/flights", None, None, None, "v1")
        >>> outbox = Outbox(Path(tempfile.mkdtemp()) / "outbox.db")
        >>> with step(identity, outbox) as record:
        ...     record.reads(DatasetUse("file", "/lake/raw/flights", "3"))
        ...     record.wrote(DatasetUse("file", "/lake/tables/flights", "7"))
        >>> [event.event_type for event in outbox.events()]
        ['START', 'COMPLETE']
    """
    current = Step(identity)
    _softly(lambda: _keep(current.record, outbox, "START", clock()))
    try:
        yield current
    except BaseException as exc:
        error, kind = exc, _kind_of(exc)
        _softly(lambda: _keep(current.record, outbox, kind, clock(), _error(error)))
        raise
    _softly(lambda: _keep(current.record, outbox, "COMPLETE", clock()))


def _keep(record: StepRecord, outbox: Outbox, kind: Kind, at: datetime, error: tuple[str, str] | None = None) -> None:
    record.inputs = fold_files(record.inputs, MAX_FILES)
    if record.output_facets:
        record.outputs = [replace(use, facets={**record.output_facets, **use.facets}) for use in record.outputs]
    ended = kind != "START"
    refs = [_ref(use, is_output=False) for use in record.inputs] + [_ref(use, is_output=True) for use in record.outputs]
    body = dump(StepEvent(kind, at, record, error))
    outbox.add([NewEvent(record.identity.run_id, kind, at.astimezone(UTC).isoformat(), body, refs if ended else ())])


def _kind_of(error: BaseException) -> Kind:
    return "FAIL" if isinstance(error, Exception) else "ABORT"


def _error(error: BaseException) -> tuple[str, str]:
    """Returns an error's message and the end of its stack trace, without secrets."""
    trace = "".join(traceback.format_exception(error))[-MAX_ERROR_CHARACTERS:]
    return redact(f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARACTERS]), redact(trace)


def _ref(use: DatasetUse, *, is_output: bool) -> DatasetRef:
    return DatasetRef(use.namespace, use.name, use.version, is_output)


def _softly(record: Callable[[], None]) -> None:
    """Runs a recorder; whatever goes wrong is counted, and told once a minute."""
    try:
        record()
    except Exception as exc:
        kind, now = type(exc).__name__, time.monotonic()
        LOST[kind] += 1
        if now - _warned.get(kind, -WARN_EVERY_SECONDS) >= WARN_EVERY_SECONDS:
            _warned[kind] = now
            LOG.warning("A lineage event was lost (%d in this process): %s", LOST[kind], exc)
