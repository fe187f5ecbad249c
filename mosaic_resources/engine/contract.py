"""What an engine is: a name, a way in, an end."""

from pathlib import Path
from typing import Protocol

from mosaic_resources.engine.connect import ConnectEngine
from mosaic_resources.engine.sail import SailEngine
from mosaic_resources.engine.spark import SparkEngine
from mosaic_resources.objects.folder import engine_environment
from mosaic_resources.settings.settings import Settings

__all__ = ["Engine", "make_engine"]

COMMON_CONFIG = {
    # Every engine computes in UTC: a session time zone would change what a timestamp literal means.
    "spark.sql.session.timeZone": "UTC",
    # Without it Spark 4.1+ drops the values of :parameters where Delta's parser is plugged in (delta-io/delta#7640).
    "spark.sql.legacy.parameterSubstitution.constantsOnly": "true",
}


class Engine(Protocol):
    """Starts or finds a Spark-speaking engine and says how a session is opened on it.

    A new engine is one class with these members and one line in ``make_engine``::

        class MyEngine:
            name = "mine"
            def spark_config(self) -> dict[str, str]:
                return {"spark.remote": "sc://example:15002"}
            def stop(self) -> None: ...
    """

    name: str

    def spark_config(self) -> dict[str, str]:
        """Returns the builder configuration that opens a session; starts the engine when it is not up."""
        ...

    def stop(self) -> None:
        """Ends what this process started; a shared server goes when its last user has gone."""
        ...


def make_engine(settings: Settings) -> Engine:
    """Returns the engine that the target names; starts nothing yet."""
    folder = Path(settings.state) / "engine"
    if settings.engine == "connect":
        return ConnectEngine(settings.spark_remote or "")
    if settings.engine == "spark":
        return SparkEngine(folder)
    options = settings.opened_storage_options() if "://" in settings.lake else None
    return SailEngine(folder, settings.engine_memory_bytes, environment=engine_environment(options or {}))
