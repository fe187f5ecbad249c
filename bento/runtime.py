"""What one endpoint process holds open: version, online store, inference log; and the watch for a new version."""

import asyncio
import gc
import logging
import time

from bento.answer import Answer, Call, failure, record
from bento.environment import Environment
from bento.metrics import Metrics
from bento.requests import BadRequestError
from bento.versions import Version, active_bento, load_version
from mosaic_resources.errors import MosaicError, UserError
from mosaic_resources.online.contract import OnlineStore, make_online_store
from mosaic_resources.spool.writer import SpoolWriteError, SpoolWriter

__all__ = ["POLL_SECONDS", "Runtime"]

POLL_SECONDS = 0.5
SYNC_SECONDS = 1.0
COMPLAINT_SECONDS = 10.0
log = logging.getLogger("mosaic.endpoint")


class Runtime:
    """The state of an endpoint. Requests read ``version`` once and keep it to their end.

    Args:
        environment: Where things are.

    Raises:
        UserError: The Bento is damaged, or needs an online store that is not named.
        DependencyError: The online store or the spool cannot be opened.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment, self.metrics = environment, Metrics()
        self._stamp = self._active_stamp()
        self.version = self._load()
        self.store = self._open_store(self.version)
        name = self.version.specification.name
        self.spool = SpoolWriter(environment.spool, name, fdatasync=environment.sync_each)
        self._tasks: list[asyncio.Task[None]] = []
        self._complained: dict[str, float] = {}
        # What lives from here on lives to the end; the collector need not look at it again.
        gc.collect()
        gc.freeze()

    def start(self) -> None:
        """Begins to watch for a new version and to sync the log; needs a running event loop."""
        self._tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._sync())]

    async def stop(self) -> None:
        """Ends the watch and closes what is open."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.spool.close()
        if self.store is not None:
            self.store.close()

    @property
    def info(self) -> dict[str, str]:
        """Which version answers."""
        model = self.version.specification.model
        return {
            "service": self.version.specification.name,
            "model": model.registered_model_name,
            "model_version": model.version,
            "bento_tag": self.version.tag,
        }

    def log_then_answer(self, version: Version, call: Call, given: Answer) -> Answer:
        """Returns the answer that may leave: the given one once it is logged, else what ``on_log_failure`` says."""
        if given.error is not None:
            self._complain(type(given.error).__name__, given.error)
        try:
            self.spool.append(record(version, call, given))
        except (SpoolWriteError, ValueError) as exc:
            self._complain("spool", exc)
            if version.specification.on_log_failure == "refuse":
                return failure(
                    call,
                    given.client_request_id,
                    BadRequestError("The request cannot be logged.", status=503, code="LOG_DOWN"),
                )
            self.metrics.count("mosaic_log_lost_total")
        return given

    def observe(self, route: str, given: Answer, call: Call) -> None:
        """Counts an answer."""
        self.metrics.count("mosaic_requests_total", route=route, status=str(given.status))
        self.metrics.observe((time.perf_counter_ns() - call.began_ns) / 1e9)
        if given.num_rows:
            self.metrics.count("mosaic_predictions_total", given.num_rows)
        for feature, num_rows in (given.missing or {}).items():
            self.metrics.count("mosaic_missing_features_total", num_rows, feature=feature)

    def _load(self) -> Version:
        active = self.environment.active
        if active is not None:
            return load_version(*active_bento(active))
        bento = self.environment.bento
        return load_version(f"{bento.parent.name}:{bento.name}", bento)

    def _open_store(self, version: Version) -> OnlineStore | None:
        if not version.groups:
            return None
        if self.environment.online is None:
            raise UserError("MOSAIC_ONLINE is not set, and the service looks features up.", do="Name the online store.")
        return make_online_store(self.environment.online, read_only=True)

    def _active_stamp(self) -> tuple[int, int] | None:
        try:
            stat = self.environment.active.stat() if self.environment.active else None
        except OSError:
            return None
        return stat and (stat.st_mtime_ns, stat.st_ino)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            stamp = self._active_stamp()
            if stamp is None or stamp == self._stamp:
                continue
            self._stamp = stamp
            try:
                version = await asyncio.to_thread(self._load)
                self._put_in_place(version)
            except Exception as exc:
                self.metrics.count("mosaic_version_switch_failures_total")
                log.error(
                    "The new version is not put in place; %s goes on. %s",
                    self.version.tag,
                    exc,
                    exc_info=not isinstance(exc, MosaicError),
                )

    def _put_in_place(self, version: Version) -> None:
        if version.specification.name != self.version.specification.name:
            raise UserError(
                f"It is the service '{version.specification.name}'.", version.tag, "Start it as an endpoint of its own."
            )
        if version.tag == self.version.tag:
            return
        if self.store is None:
            self.store = self._open_store(version)
        log.info("%s answers from now on, after %s.", version.tag, self.version.tag)
        self.version = version
        self.metrics.count("mosaic_version_switches_total")

    async def _sync(self) -> None:
        while True:
            await asyncio.sleep(SYNC_SECONDS)
            try:
                await asyncio.to_thread(self.spool.sync)
            except OSError as exc:
                self._complain("sync", exc)

    def _complain(self, kind: str, exc: Exception) -> None:
        """Logs at most one line of a kind in ten seconds: a broken part fails at every request."""
        now = time.monotonic()
        if now - self._complained.get(kind, -COMPLAINT_SECONDS) >= COMPLAINT_SECONDS:
            self._complained[kind] = now
            log.error("%s", exc, exc_info=None if isinstance(exc, MosaicError) else exc)
