"""The manifest: everything that decides a dataset's rows, and a hash of those rows."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mosaic_resources.errors import UserError

__all__ = ["Manifest"]

LISTS = ("entity_key", "request", "split", "columns", "failed_checks")
# Left out of the id where empty, so that manifests from before they existed keep theirs.
LATER_FIELDS = ("splitting", "failed_checks")


@dataclass(frozen=True)
class Manifest:
    """A dataset, pinned. It alone rebuilds the same rows as long as the versions that it names exist.

    Args:
        dataset: Name of the dataset.
        feature_service: Name of the feature service.
        tables: Table → Delta version read, views' tables included.
        query: SQL of the entity table (labels).
        service: Definition of the feature service with its views (``features.definition``).
        entity_key: Columns that identify a row.
        timestamp_field: Time that a row looks from.
        label: Label column.
        label_known_field: When the label became known.
        request: Columns that a request holds.
        on_demand: Text of the on-demand function's file; None without one.
        cutoff_utc: Only rows asked before, and labels known by then; ISO 8601.
        split: Ends of train, validation, test; ISO 8601; empty where rows are not split by time.
        columns: Columns in order.
        code_version: Hash of the declaration.
        num_rows: Rows by split.
        row_hash: Hash of the rows (``row_hash``).
        table_version: Delta version of the dataset's own table.
        splitting: What else decides splits, folds and the sample (``Splitting.to_dict``).
        failed_checks: What the blocking checks found, one sentence each; a model refuses such a dataset.
    """

    dataset: str
    feature_service: str
    tables: Mapping[str, int]
    query: str
    service: Mapping[str, Any]
    entity_key: tuple[str, ...]
    timestamp_field: str
    label: str
    label_known_field: str
    request: tuple[str, ...]
    on_demand: str | None
    cutoff_utc: str
    split: tuple[str, ...]
    columns: tuple[str, ...]
    code_version: str
    num_rows: Mapping[str, int]
    row_hash: str
    table_version: int | None = None
    format: int = field(default=1)
    splitting: Mapping[str, Any] = field(default_factory=dict)
    failed_checks: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Short hash of what decides the rows; the same inputs give the same id."""
        decides = {name: value for name, value in asdict(self).items() if name not in ("table_version", "num_rows")}
        decides = {name: value for name, value in decides.items() if value or name not in LATER_FIELDS}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def learnt_until(self) -> datetime:
        """Time before which all rows lie that a model is fitted or tuned on."""
        return datetime.fromisoformat(self.split[1] if self.split else self.cutoff_utc)

    @property
    def folds_in_time(self) -> bool:
        """Whether the folds, if any, are blocks of time in order."""
        return bool(self.split) or "time_col" in self.splitting

    def to_json(self) -> str:
        """Returns the manifest as JSON text."""
        return json.dumps({"id": self.id, **asdict(self)}, indent=2, sort_keys=True)

    @classmethod
    def from_json(cls, text: str, where: str = "manifest") -> "Manifest":
        """Returns the manifest that a JSON text holds.

        Raises:
            UserError: The text is no manifest, or was altered (its id does not fit).
        """
        try:
            values: dict[str, Any] = json.loads(text)
            given = values.pop("id")
            lists = {name: tuple(values[name]) for name in LISTS if name in values}
            manifest = cls(**{**values, **lists})
        except (ValueError, KeyError, TypeError) as exc:
            raise UserError(f"This is no dataset manifest: {exc}.", where) from exc
        if manifest.id != given:
            raise UserError(f"The manifest was altered: its id is {given}, its content says {manifest.id}.", where)
        return manifest

    def save(self, folder: Path) -> Path:
        """Writes the manifest under its id and returns the file."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.dataset}-{self.id}.json"
        draft = file.with_suffix(".draft")
        draft.write_text(self.to_json())
        draft.replace(file)
        return file

    @classmethod
    def load(cls, file: Path) -> "Manifest":
        """Returns the manifest in a file."""
        if not file.is_file():
            raise UserError("The manifest does not exist.", str(file))
        return cls.from_json(file.read_text(), str(file))
