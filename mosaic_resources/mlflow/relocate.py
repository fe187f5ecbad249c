"""Keeps a SQLite store of MLflow true when its folder is moved or copied: MLflow writes absolute places into it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["ARTIFACTS_TAG", "relocate"]

ARTIFACTS_TAG = "mosaic.artifacts"  # of an experiment that we made: the folder that all its artifacts lie below
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
    ("experiment_tags", "value"),
)


def relocate(database: Path, artifacts: Path) -> list[str]:
    """Points the artifacts of our experiments to where they lie now, and returns where they were said to lie.

    Experiments that somebody else made stay as they are. All is changed in one transaction, or nothing.

    Args:
        database: MLflow's SQLite file; it may be missing.
        artifacts: Folder of the artifacts, beside it.
    """
    if not database.is_file():
        return []
    here = artifacts.as_uri()
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        if connection.execute("select 1 from sqlite_master where name = 'experiment_tags'").fetchone() is None:
            return []
        query = "select distinct value from experiment_tags where key = ?"
        told = [value for (value,) in connection.execute(query, (ARTIFACTS_TAG,)) if _elsewhere(value, artifacts)]
        for before in told:
            for table, column in PLACES:
                connection.execute(
                    f"update {table} set {column} = ? || substr({column}, ?) "
                    f"where {column} = ? or substr({column}, 1, ?) = ?",
                    (here, len(before) + 1, before, len(before) + 1, f"{before}/"),
                )
        return told


def _elsewhere(uri: str, artifacts: Path) -> bool:
    return Path(unquote(urlsplit(uri).path)).resolve() != artifacts.resolve()
