"""The one function that commits: exactly once for each (application, version), whoever retries."""

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, TableNotFoundError

from mosaic_resources.errors import DependencyError

__all__ = ["Commit", "commit_once", "commit_stream", "open_table"]

MAX_ATTEMPTS = 12


@dataclass(frozen=True)
class Commit:
    """Who commits what, kept in the Delta log beside the rows.

    Args:
        app: Application id of the Delta ``txn`` action, for instance ``ingest/raw/flights``.
        version: Number of the batch, from 1, growing; None takes the next one for this attempt of the step.
        run_id: Dagster run that commits.
        asset: Asset key as text.
        partition: Partition key, if any.
        code_version: Hash of the code and SQL that made the rows.
        notes: What else the log shall hold beside the rows, by name.
    """

    app: str
    version: int | None = None
    run_id: str = ""
    asset: str = ""
    partition: str = ""
    code_version: str = ""
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    notes: Mapping[str, str] = field(default_factory=dict)

    def metadata(self) -> dict[str, str]:
        """Returns what ``history()`` shows for this commit."""
        named = {"run_id": self.run_id, "asset": self.asset, "partition": self.partition}
        return {**named, "code_version": self.code_version, "mosaic_token": self.token, **self.notes}

    def properties(self, version: int) -> CommitProperties:
        """Returns the properties for a delta-rs write of batch ``version``."""
        return CommitProperties(app_transactions=[Transaction(self.app, version)], custom_metadata=self.metadata())


def open_table(
    path: str, storage_options: dict[str, str] | None = None, version: int | None = None
) -> DeltaTable | None:
    """Returns a handle on a table, or None where there is none."""
    try:
        return DeltaTable(path, version=version, storage_options=storage_options)
    except TableNotFoundError:
        return None


def commit_once(
    open_handle: Callable[[], DeltaTable],
    commit: Commit,
    write: Callable[[DeltaTable, int], None],
) -> bool:
    """Ensures that the batch of ``commit`` is in the table exactly once.

    The id alone guards nothing: a fresh handle would accept the same version again. So the version is read
    from a handle and the write goes through that same handle, which then fails when somebody came between.

    Args:
        open_handle: Opens the table anew; the table exists.
        commit: The batch.
        write: Writes through the handle it is given, with this ``txn`` version.

    Returns:
        Whether this call wrote it (False: it was there already).

    Raises:
        DependencyError: Other writers came first at every attempt.
    """
    wanted = commit.version
    for attempt in range(MAX_ATTEMPTS):
        handle = open_handle()
        last = handle.transaction_version(commit.app)
        if attempt and _landed(handle, commit.token):
            return True  # The acknowledgement of an earlier attempt was lost.
        if commit.version is not None and last is not None and last >= commit.version:
            return False
        if commit.version is None:
            wanted = (last or 0) + 1
        try:
            write(handle, wanted or 1)
            return True
        except CommitFailedError:
            time.sleep(min(0.05 * 2**attempt, 2.0))
    raise DependencyError("Other writers committed first at every attempt.", commit.app, "Run it again.")


def commit_stream(
    open_handle: Callable[[], DeltaTable | None],
    app: str,
    attempt: Callable[[DeltaTable | None, int], int | None],
) -> int:
    """Ensures that everything after the table's own offset of ``app`` is appended exactly once.

    Args:
        open_handle: Opens the table anew; None where it does not exist yet.
        app: Application id whose ``txn`` version is the offset.
        attempt: Reads from an offset and writes through the handle; returns the rows written. None means that it
            made the table, so the offset must be read again.

    Returns:
        The number of rows written.

    Raises:
        DependencyError: Other writers came first at every attempt.
    """
    for number in range(MAX_ATTEMPTS):
        handle = open_handle()
        last = handle.transaction_version(app) if handle is not None else None
        try:
            written = attempt(handle, last or 0)
        except CommitFailedError:
            time.sleep(min(0.05 * 2**number, 2.0))
            continue
        if written is not None:
            return written
    raise DependencyError("Other writers committed first at every attempt.", app, "Run it again.")


def _landed(handle: DeltaTable, token: str) -> bool:
    # delta-rs shows the metadata as keys of their own, delta-spark as one text.
    return any(token in str(entry) for entry in handle.history(limit=MAX_ATTEMPTS * 2))
