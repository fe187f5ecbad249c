"""The Bento's entry: our application mounted in one BentoML service, with its costly parts off.

``bentoml serve`` runs it, and so does ``bento.serve`` under our own uvicorn. Importing it opens nothing.
"""

import os
from pathlib import Path

import bentoml

from bento.app import make_app
from bento.environment import read_environment
from bento.runtime import Runtime

__all__ = ["Endpoint", "app"]

_runtime: Runtime | None = None


def runtime() -> Runtime:
    """Returns the runtime of this process, opened at start-up."""
    assert _runtime is not None, "the endpoint has not been started"
    return _runtime


app = make_app(runtime)


# The tracing middleware is always installed and costs more than everything else together, so it skips every URL;
# metrics and access log are our own.
@bentoml.service(
    workers=1,
    traffic={"timeout": 10},
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    tracing={"excluded_urls": ".*"},
)
@bentoml.asgi_app(app, path="/")
class Endpoint:
    """One process that answers for one service."""

    def __init__(self) -> None:
        global _runtime
        # src/bento/service.py lies two folders below the Bento.
        _runtime = Runtime(read_environment(os.environ, Path(__file__).resolve().parents[2]))

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def begin(self) -> None:
        """Starts the watch for new versions."""
        runtime().start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def end(self) -> None:
        """Closes store and log."""
        await runtime().stop()

    async def __is_ready__(self) -> bool:
        """Whether a version is loaded."""
        return _runtime is not None
