"""Transforms: one query or one PySpark function over pinned versions of tables, on whichever engine."""

import hashlib
import importlib.util
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic_resources.delta.lake import Lake
from mosaic_resources.errors import UserError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["load_function", "pinned_frames", "run_python", "run_sql", "view_name"]


def view_name(table: str) -> str:
    """Returns the temporary view that stands for a table (``raw/flights``) in a session."""
    return "mosaic__" + table.replace("/", "__")


def pinned_frames(session: "SparkSession", lake: Lake, versions: Mapping[str, int]) -> "dict[str, DataFrame]":
    """Returns a data frame for each table at its pinned version.

    Args:
        session: Engine session.
        lake: Where the tables are.
        versions: Table → Delta version.
    """
    reader = session.read.format("delta")
    return {table: reader.option("versionAsOf", version).load(lake.path(table)) for table, version in versions.items()}


def run_sql(
    session: "SparkSession",
    lake: Lake,
    query: str,
    versions: Mapping[str, int],
    parameters: Mapping[str, object] | None = None,
) -> "DataFrame":
    """Returns the lazy result of a query whose tables are written ``folder.table``.

    Args:
        session: Engine session.
        lake: Where the tables are.
        query: Spark SQL; may use the named parameters.
        versions: Table → Delta version that the query sees.
        parameters: Values of ``:name`` in the query; one that the query does not use is left out.
    """
    from mosaic_assets.lineage.sql import rename_tables

    for table, frame in pinned_frames(session, lake, versions).items():
        frame.createOrReplaceTempView(view_name(table))
    text = rename_tables(query, {table.replace("/", "."): view_name(table) for table in versions})
    used = {name: value for name, value in (parameters or {}).items() if f":{name}" in text}
    return session.sql(text, args=used) if used else session.sql(text)


def run_python(
    session: "SparkSession",
    lake: Lake,
    file: Path,
    versions: Mapping[str, int],
    window: tuple[datetime, datetime] | None = None,
) -> "DataFrame":
    """Returns the lazy result of ``transform(tables, window)`` in a Python file.

    Args:
        session: Engine session.
        lake: Where the tables are.
        file: File with ``def transform(tables, window)``; ``tables`` maps a table's key to its data frame.
        versions: Table → Delta version that the function sees.
        window: Start and end of the partitions (UTC), or None.
    """
    transform = load_function(file, "transform")
    return transform(pinned_frames(session, lake, versions), window)  # type: ignore[no-any-return]


def load_function(file: Path, name: str) -> Callable[..., Any]:
    """Returns a function of a user's file.

    Raises:
        UserError: The file is missing, does not import, or lacks the function.
    """
    if not file.is_file():
        raise UserError("The Python file does not exist.", str(file))
    # The name holds the content's hash, so an edited file is loaded anew in a long-lived process.
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"mosaic_user_{file.stem}_{digest}", file)
    if spec is None or spec.loader is None:
        raise UserError("The file is no Python module.", str(file))
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as exc:
        raise UserError(f"The file does not import: {type(exc).__name__}: {exc}", str(file)) from exc
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"The file has no function '{name}'.", str(file))
    return function  # type: ignore[no-any-return]
