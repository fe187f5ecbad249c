"""LMDB: one writer at a time, any number of reader processes, no server.

A commit is in the kernel's hands when ``merge`` returns, so a killed process loses nothing. The disk is synced at most
once a second and at the end: syncing each push costs 20 ms. After a power cut the store may be damaged; it is made of
tables that are not, so it is materialized again.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mosaic_resources.errors import DependencyError, missing_extra
from mosaic_resources.online.blob import merge_newest, rows_of
from mosaic_resources.online.layout import BlobLayout, Rows

if TYPE_CHECKING:
    import lmdb

__all__ = ["LmdbStore"]

FIRST_MAP_BYTES = 1 << 30
MAX_READERS = 512
SYNC_SECONDS = 1.0
Answer = TypeVar("Answer")

# LMDB forbids a process to open one environment twice, so stores of a process share it: path → (environment, users).
_open: dict[tuple[int, str], tuple["lmdb.Environment", int]] = {}
_lock = threading.Lock()


class LmdbStore:
    """An ``OnlineStore`` in one folder. Keys are schema id + entity key, so layouts live side by side.

    Args:
        folder: Where ``data.mdb`` and ``lock.mdb`` lie; made by the writer.
        read_only: Whether this process only reads.
        map_bytes: Size of a new map; it doubles when it is full.

    Raises:
        DependencyError: ``lmdb`` is not installed, or the folder cannot be opened.
    """

    waits = False

    def __init__(self, folder: Path, *, read_only: bool = False, map_bytes: int = FIRST_MAP_BYTES) -> None:
        self.folder, self.read_only, self._map_bytes = folder, read_only, map_bytes
        self._env, self._pid = _acquire(folder, read_only, map_bytes), os.getpid()
        self._synced = time.monotonic()

    def read(self, layout: BlobLayout, keys: Sequence[bytes | None]) -> list[bytes | None]:
        """See ``OnlineStore``."""
        prefix = layout.schema_id

        def get(env: "lmdb.Environment") -> list[bytes | None]:
            with env.begin() as txn:
                return [None if key is None else txn.get(prefix + key) for key in keys]

        return self._run(get)

    def merge(self, layout: BlobLayout, keys: Sequence[bytes], rows: Rows) -> int:
        """See ``OnlineStore``."""
        full = [layout.schema_id + key for key in keys]
        width = layout.dtype.itemsize

        def put(env: "lmdb.Environment") -> int:
            env.reader_check()  # Frees the slots of readers that were killed; their snapshots pin old pages.
            with env.begin(write=True) as txn:
                old = rows_of(layout, [txn.get(key) for key in full])
                merged = merge_newest(layout, old, rows)
                was, now = old.tobytes(), merged.tobytes()
                spans = [(i, now[i * width : (i + 1) * width]) for i in range(len(full))]
                changed = [(full[i], blob) for i, blob in spans if was[i * width : (i + 1) * width] != blob]
                with txn.cursor() as cursor:
                    cursor.putmulti(sorted(changed))
                return len(changed)

        num_changed = self._run(put)
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self._env.sync(True)
            self._synced = time.monotonic()
        return num_changed

    def close(self) -> None:
        """See ``OnlineStore``."""
        if self._pid == os.getpid():
            if not self.read_only:
                self._env.sync(True)
            _release(self.folder)
        self._pid = -1

    def _run(self, work: Callable[["lmdb.Environment"], Answer]) -> Answer:
        import lmdb

        if self._pid != os.getpid():  # Forked: an environment must not cross a fork.
            self._env, self._pid = _acquire(self.folder, self.read_only, self._map_bytes), os.getpid()
        while True:
            try:
                return work(self._env)
            except lmdb.MapResizedError:
                self._env.set_mapsize(0)  # Another process grew it; 0 adopts its size.
            except lmdb.MapFullError:
                self._env.set_mapsize(self._env.info()["map_size"] * 2)
            except lmdb.Error as exc:
                raise DependencyError(
                    f"The online store failed: {exc}.", str(self.folder), "Check disk space and permissions."
                ) from exc


def _acquire(folder: Path, read_only: bool, map_bytes: int) -> "lmdb.Environment":
    try:
        import lmdb
    except ImportError as exc:
        raise missing_extra("lmdb", "serve") from exc
    name = (os.getpid(), str(folder.resolve()))
    with _lock:
        _forget_parents(name)
        env, num_users = _open.get(name, (None, 0))
        if env is None:
            env = _environment(lmdb, folder, read_only, map_bytes)
        elif env.flags()["readonly"] and not read_only:
            raise DependencyError(
                "This process has the online store open for reading.", str(folder), "Close that store before writing."
            )
        _open[name] = (env, num_users + 1)
        return env


def _environment(lmdb: Any, folder: Path, read_only: bool, map_bytes: int) -> Any:
    try:
        if not read_only:
            folder.mkdir(parents=True, exist_ok=True)
        # A map size smaller than the file's is raised to it by LMDB itself.
        env = lmdb.open(
            str(folder),
            map_size=map_bytes,
            max_readers=MAX_READERS,
            readonly=read_only,
            create=not read_only,
            readahead=False,
            meminit=False,
            sync=False,
        )
        env.reader_check()
    except (lmdb.Error, OSError) as exc:
        hint = "Materialize a feature view first." if read_only else "Check the path and its permissions."
        raise DependencyError(f"The online store cannot be opened: {exc}.", str(folder), hint) from exc
    return env


def _forget_parents(name: tuple[int, str]) -> None:
    """Closes what a fork has left: the binding still counts it as open, the parent's own is not touched."""
    for other in [known for known in _open if known[1] == name[1] and known[0] != name[0]]:
        _open.pop(other)[0].close()


def _release(folder: Path) -> None:
    name = (os.getpid(), str(folder.resolve()))
    with _lock:
        env, num_users = _open.get(name, (None, 0))
        if env is None:
            return
        _open[name] = (env, num_users - 1)
        if num_users == 1:
            del _open[name]
            env.close()
