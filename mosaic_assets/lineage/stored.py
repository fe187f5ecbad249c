"""The form in which the outbox keeps what a step said: plain JSON, cheap to write while the step waits."""

import json
from datetime import UTC, datetime
from typing import Any

from mosaic_assets.lineage.record import Assertion, DatasetUse, StepEvent, StepIdentity, StepRecord
from mosaic_resources.errors import UserError

__all__ = ["dump", "load"]

FORMAT = 1


def dump(moment: StepEvent) -> str:
    """Returns a moment of a step as JSON text; a start holds the identity alone."""
    record = moment.record
    identity = vars(record.identity) | {
        "window_start": _iso(record.identity.window_start),
        "window_end": _iso(record.identity.window_end),
    }
    head = {"format": FORMAT, "kind": moment.kind, "at": _iso(moment.at)}
    stored: dict[str, Any] = {**head, "identity": identity, "engine": record.engine}
    if moment.kind != "START":
        stored |= {
            "inputs": [vars(use) for use in record.inputs],
            "outputs": [vars(use) for use in record.outputs],
            "columns": [[*key, columns] for key, columns in record.columns.items()],
            "assertions": [vars(check) for check in record.assertions],
            "facets": record.facets,
            "error": moment.error,
        }
    return json.dumps(stored, separators=(",", ":"), default=str)


def load(text: str) -> StepEvent:
    """Returns the moment that ``dump`` wrote. Numbers that JSON does not have (NaN, infinities) come back as None.

    Raises:
        UserError: The text has another format.
    """
    stored: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
    if stored.get("format") != FORMAT:
        raise UserError(f"A lineage record has format {stored.get('format')}, this version reads {FORMAT}.")
    identity = stored["identity"]
    window = {name: _time(identity[name]) for name in ("window_start", "window_end")}
    record = StepRecord(
        StepIdentity(**(identity | window)),
        inputs=[_use(use) for use in stored.get("inputs", ())],
        outputs=[_use(use) for use in stored.get("outputs", ())],
        columns={
            (namespace, name): {column: [(u[0], u[1], u[2]) for u in used] for column, used in columns.items()}
            for namespace, name, columns in stored.get("columns", ())
        },
        assertions=[Assertion(**check) for check in stored.get("assertions", ())],
        facets=stored.get("facets", {}),
        engine=_pair(stored["engine"]),
    )
    at = _time(stored["at"])
    assert at is not None
    return StepEvent(stored["kind"], at, record, _pair(stored.get("error")))


def _use(stored: dict[str, Any]) -> DatasetUse:
    return DatasetUse(**(stored | {"fields": [(name, kind) for name, kind in stored["fields"]]}))


def _pair(stored: list[str] | None) -> tuple[str, str] | None:
    return None if stored is None else (stored[0], stored[1])


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
