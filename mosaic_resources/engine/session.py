"""Opens sessions, and turns an engine's failures into errors that say who must act."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mosaic_resources.engine.contract import COMMON_CONFIG, Engine
from mosaic_resources.errors import DependencyError, MosaicError, UserError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["SessionHolder", "build_session", "engine_errors"]

SAIL_NAME = re.compile(r'ObjectName\(\[Identifier\("([^"]*)"\)\]\)')


def build_session(config: dict[str, str]) -> "SparkSession":
    """Returns a session for a builder configuration, outside Dagster."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder
    for key, value in config.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


class SessionHolder:
    """One live session on an engine, renewed when the server behind it was.

    Args:
        engine: Where sessions are opened.
        open_session: Opens one from a configuration; Dagster passes its own resource.
    """

    def __init__(self, engine: Engine, open_session: Callable[[dict[str, str]], Any] = build_session) -> None:
        self.engine, self._open = engine, open_session
        self._session: Any = None
        self._remote: str | None = None

    def session(self) -> "SparkSession":
        """Returns the live session.

        Raises:
            DependencyError: The engine does not start or answer.
        """
        config = {**self.engine.spark_config(), **COMMON_CONFIG}
        remote = config.get("spark.remote")
        if self._session is None or remote != self._remote:
            if remote:
                _forget_sessions()
            with engine_errors(self.engine.name):
                self._session = self._open(config)
            self._remote = remote
            if remote:
                _bound_retries(self._session)
        if remote:
            _activate(self._session)
        return self._session  # type: ignore[no-any-return]

    def close(self) -> None:
        """Gives the engine back and forgets the session, which would point to a server that may be gone."""
        if self._session is not None and self._remote:
            _forget_sessions()
        self._session = None
        self.engine.stop()


def _bound_retries(session: Any) -> None:
    """The client's own policy waits over a minute for a dead server; three quick tries are enough on one machine."""
    from pyspark.sql.connect.client.retries import DefaultPolicy

    session.client.set_retry_policies([DefaultPolicy(max_retries=3, initial_backoff=100, max_backoff=500)])


def _activate(session: Any) -> None:
    """Makes it the session that the client's own functions and dbt find, whichever other engine was asked last."""
    from pyspark.sql.connect.session import SparkSession

    SparkSession._default_session = session
    SparkSession._active_session.session = session


def _forget_sessions() -> None:
    """Drops the client's memory of a session, which may be on a server that is gone, without talking to it."""
    from pyspark.sql.connect.session import SparkSession

    SparkSession._default_session = None
    SparkSession._active_session = type(SparkSession._active_session)()


@contextmanager
def engine_errors(engine: str, where: str | None = None) -> Iterator[None]:
    """Turns the exceptions of a query into ours.

    Args:
        engine: Name of the engine, for the message.
        where: Asset or file whose query runs.

    Raises:
        UserError: The query itself is wrong: syntax, names, types, values.
        DependencyError: The engine is gone or out of memory.
    """
    from pyspark.errors import AnalysisException, ParseException, PySparkException

    place = where or f"engine '{engine}'"
    try:
        yield
    except MosaicError:
        raise
    except (AnalysisException, ParseException) as exc:
        raise UserError(f"The query was refused: {_first_line(exc)}", place) from exc
    except PySparkException as exc:
        if _is_lost(exc):
            raise DependencyError(f"The engine '{engine}' died during the query.", place, "Run it again.") from exc
        raise UserError(f"The query failed: {_first_line(exc)}", place) from exc
    except Exception as exc:
        if type(exc).__module__.startswith("grpc"):
            raise DependencyError(f"The engine '{engine}' does not answer.", place, "Run it again.") from exc
        raise


def _is_lost(exc: BaseException) -> bool:
    text = str(exc)
    return any(
        sign in text for sign in ("operation not found", "UNAVAILABLE", "Connection refused", "RETRIES_EXCEEDED")
    )


def _first_line(exc: BaseException) -> str:
    line = next((line.strip() for line in str(exc).splitlines() if line.strip()), type(exc).__name__)
    return SAIL_NAME.sub(r"'\1'", line)
