"""Local Spark in a JVM of its own, with delta-spark; the embedded sibling of a cluster."""

import os
import shutil
import sys
from pathlib import Path

from mosaic_resources.errors import DependencyError, missing_extra

__all__ = ["SparkEngine", "delta_coordinate"]

DELTA_CONFIG = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}


def delta_coordinate() -> str:
    """Returns the Maven coordinate that belongs to the installed delta-spark and pyspark.

    Raises:
        DependencyError: delta-spark is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        delta = version("delta-spark")
    except PackageNotFoundError as exc:
        raise missing_extra("delta", "spark") from exc
    major_minor = ".".join(version("pyspark").split(".")[:2])
    return f"io.delta:delta-spark_{major_minor}_2.13:{delta}"


class SparkEngine:
    """A classic local Spark session.

    Args:
        folder: Where the warehouse, the Ivy cache and scratch files live.
        cores: Threads of the local master.
    """

    name = "spark"

    def __init__(self, folder: Path, cores: int = 2) -> None:
        self._folder, self._cores = folder, cores

    def spark_config(self) -> dict[str, str]:
        """Returns the builder configuration of a local session.

        Raises:
            DependencyError: No Java, or delta-spark is missing.
        """
        if not shutil.which("java") and not os.environ.get("JAVA_HOME"):
            raise DependencyError(
                "No Java found.",
                "engine 'spark'",
                "Install a JDK 17 or 21, or use the engine 'sail', which needs none.",
            )
        # Spark's workers must be the interpreter that has pyarrow.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        self._folder.mkdir(parents=True, exist_ok=True)
        return {
            "spark.master": f"local[{self._cores}]",
            "spark.jars.packages": delta_coordinate(),
            "spark.sql.warehouse.dir": str(self._folder / "warehouse"),
            "spark.local.dir": str(self._folder / "scratch"),
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.memory": "3g",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.sql.shuffle.partitions": str(self._cores),
            "spark.databricks.delta.snapshotPartitions": "2",
            "spark.sql.execution.arrow.pyspark.enabled": "true",
            **DELTA_CONFIG,
        }

    def stop(self) -> None:
        """Stops the JVM that this process started, if any."""
        from pyspark.sql import SparkSession

        session = SparkSession.getActiveSession()
        if session is not None:
            session.stop()
