"""Checkpoints that are ours: signed when they are written, verified before they are opened, opened without pickle."""

import hashlib
import hmac
import io
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mosaic_resources.errors import UserError

__all__ = ["CheckpointLedger", "load_checkpoint_file", "signing_key"]

LEDGER = "checkpoints.json"


def signing_key(file: Path) -> bytes:
    """Returns the key that signs this project's checkpoints; made on first use, readable by its owner alone."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(secrets.token_bytes(32))
    try:
        os.link(draft, file)  # the first process wins
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return file.read_bytes()


class CheckpointLedger:
    """The checkpoints of one run, by hash, in the order in which they were written.

    Args:
        folder: Where they lie.
        key: Signs the list.
        num_to_keep: Newest checkpoints that stay.
    """

    def __init__(self, folder: Path, key: bytes, num_to_keep: int = 2) -> None:
        self.folder, self._key, self._num_to_keep = folder, key, num_to_keep

    def record(self, file: Path) -> None:
        """Adds a complete checkpoint and removes those that are too old."""
        entries = {**self._entries(), file.name: _sha256(file)}
        names = list(entries)[-self._num_to_keep :]
        self._write({name: entries[name] for name in names})
        self._remove(set(entries) - set(names))

    def newest(self) -> Path | None:
        """Returns the newest checkpoint that is intact, after removing what is not; None where there is none."""
        entries = self._entries()
        intact = {name: digest for name, digest in entries.items() if self._is(name, digest)}
        self._write(intact)
        self._remove({file.name for file in self.folder.glob("*.pt")} - set(intact))
        return self.folder / list(intact)[-1] if intact else None

    def clear(self) -> None:
        """Forgets the run."""
        self._write({})
        self._remove(file.name for file in self.folder.glob("*.pt"))

    def holds(self, content: bytes) -> bool:
        """Returns whether these bytes are one of the checkpoints."""
        return hashlib.sha256(content).hexdigest() in self._entries().values()

    def _is(self, name: str, digest: str) -> bool:
        file = self.folder / name
        return file.is_file() and not file.is_symlink() and hmac.compare_digest(_sha256(file), digest)

    def _entries(self) -> dict[str, str]:
        try:
            signed = json.loads((self.folder / LEDGER).read_text())
            entries: dict[str, str] = dict(signed["checkpoints"])
            signature = str(signed["signature"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        # A list that someone else wrote counts as no list: the run starts anew.
        return entries if hmac.compare_digest(self._sign(entries), signature) else {}

    def _write(self, entries: dict[str, str]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / f"{LEDGER}.draft"
        draft.write_text(json.dumps({"checkpoints": list(entries.items()), "signature": self._sign(entries)}))
        draft.replace(self.folder / LEDGER)

    def _sign(self, entries: dict[str, str]) -> str:
        return hmac.new(self._key, json.dumps(list(entries.items())).encode(), hashlib.sha256).hexdigest()

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            (self.folder / name).unlink(missing_ok=True)


def load_checkpoint_file(file: Path, ledger: CheckpointLedger, map_location: str) -> Any:
    """Returns what a checkpoint holds; nothing in it is executed.

    Args:
        file: The checkpoint.
        ledger: The run that it must belong to.
        map_location: Device of the tensors.

    Raises:
        UserError: The file is not this run's, or holds more than tensors, arrays, numbers, texts and times.
    """
    import torch

    # Read once: what is verified is what is opened, and Composer hands over a copy under another name.
    content = file.read_bytes()
    if not ledger.holds(content):
        raise UserError("This checkpoint was not written by this run; it is not opened.", str(file), "Delete it.")
    try:
        with torch.serialization.safe_globals(_allowed()):
            return torch.load(io.BytesIO(content), map_location=map_location, weights_only=True)
    except Exception as exc:
        raise UserError(f"The checkpoint cannot be opened safely: {exc}", str(file), "Delete it.") from exc


def _allowed() -> list[Any]:
    """What a checkpoint of Composer 0.32 holds beside tensors (upstream's own list, not released yet)."""
    import datetime

    import numpy as np
    from torch.torch_version import TorchVersion

    kinds = [type(np.dtype(name)) for name in ("uint8", "uint32", "int64", "float32", "float64")]
    return [datetime.timedelta, np.ndarray, np.dtype, np._core.multiarray._reconstruct, TorchVersion, *kinds]  # type: ignore[attr-defined]


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
