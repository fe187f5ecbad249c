"""Everything a step may open, made from one target's settings and opened on first use."""

from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter, DeltaSparkWriter, Writer
from mosaic_resources.engine.contract import make_engine
from mosaic_resources.engine.session import SessionHolder, build_session
from mosaic_resources.settings.settings import Settings, load_settings
from mosaic_resources.verdicts.store import Verdicts

if TYPE_CHECKING:
    from collections.abc import Callable

    from mosaic_resources.mlflow.contract import Registry
    from mosaic_resources.online.contract import OnlineStore
    from mosaic_resources.outbox.outbox import Outbox

__all__ = ["Seams"]


class Seams:
    """The opened seams of one target; a notebook, a test and a Dagster step use the same object.

    Args:
        settings: The target's addresses.
        open_session: Opens an engine session from a configuration; Dagster passes its own resource.

    Example:
        >>> from pathlib import Path
        >>> seams = Seams.of(Path("."))  # doctest: +SKIP
        >>> seams.lake.read("tables/flights").num_rows  # doctest: +SKIP
    """

    def __init__(self, settings: Settings, open_session: "Callable[[dict[str, str]], Any]" = build_session) -> None:
        self.settings, self._open_session = settings, open_session

    @classmethod
    def of(cls, project_root: Path, target: str | None = None) -> "Seams":
        """Returns the seams of a project's target."""
        return cls(load_settings(project_root, target=target))

    @cached_property
    def engine(self) -> SessionHolder:
        """The engine; ``engine.session()`` is a live Spark session."""
        return SessionHolder(make_engine(self.settings), self._open_session)

    @property
    def engine_name(self) -> tuple[str, str]:
        """Name and version of what computes the rows, for lineage; opens nothing."""
        package = "pysail" if self.settings.engine == "sail" else "pyspark"
        return self.settings.engine, version(package)

    @cached_property
    def lake(self) -> Lake:
        """The Delta tables."""
        delta_rs = self.settings.writer == "delta-rs"
        options = self.settings.opened_storage_options() if "://" in self.settings.lake else None
        writer: Writer = DeltaRsWriter(options) if delta_rs else DeltaSparkWriter(self.engine.session)
        return Lake(self.settings.lake, writer, options)

    @cached_property
    def online(self) -> "OnlineStore":
        """The online feature store."""
        from mosaic_resources.online.contract import make_online_store

        return make_online_store(self.settings.online)

    @cached_property
    def registry(self) -> "Registry":
        """MLflow: runs and registered models."""
        from mosaic_resources.mlflow.client import MlflowRegistry

        return MlflowRegistry(self.settings.mlflow_tracking_uri)

    @cached_property
    def verdicts(self) -> Verdicts:
        """The partitions that a blocking check refused."""
        return Verdicts(self.settings.state / "verdicts.db")

    @cached_property
    def outbox(self) -> "Outbox":
        """The lineage outbox."""
        from mosaic_resources.outbox.outbox import Outbox

        return Outbox(self.settings.outbox)
