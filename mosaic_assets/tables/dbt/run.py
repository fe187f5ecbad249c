"""Runs dbt inside the step, on the step's own engine session: one engine, one catalogue, real merges."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mosaic_resources.errors import InternalError, UserError, missing_extra
from mosaic_resources.telemetry import without_telemetry

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["NodeResult", "run_dbt"]

STATISTICS = "DBT_SEND_ANONYMOUS_USAGE_STATS"


@dataclass(frozen=True)
class NodeResult:
    """What dbt says of one node.

    Args:
        unique_id: dbt's id.
        ok: Whether it succeeded or passed.
        message: dbt's message.
        failures: Rows that fail a test.
        seconds: Execution time.
        compiled: Compiled SQL of a model.
    """

    unique_id: str
    ok: bool
    message: str
    failures: int
    seconds: float
    compiled: str | None


def run_dbt(
    project: Path, models: Sequence[str], lake: str, remote: str | None, session: "SparkSession"
) -> list[NodeResult]:
    """Builds models with their tests and returns one result for each node.

    Args:
        project: Folder of the dbt project.
        models: Names to select.
        lake: Root of the tables; models write below it.
        remote: Spark Connect address of the session, None for a local JVM.
        session: The live session; dbt finds it as the process's own.

    Raises:
        UserError: A model does not compile or run.
        DependencyError: dbt is not installed.
    """
    try:
        from dbt.cli.main import dbtRunner
    except ModuleNotFoundError as exc:
        raise missing_extra("dbt", "sql") from exc
    if session is None:
        raise InternalError("dbt needs the step's engine session.")
    arguments = ["--quiet", "build", "--project-dir", str(project), "--profiles-dir", str(project)]
    statistics = without_telemetry(os.environ)[STATISTICS]
    with _environment(MOSAIC_LAKE=lake, **{STATISTICS: statistics}, **({"SPARK_REMOTE": remote} if remote else {})):
        outcome = dbtRunner().invoke([*arguments, "--select", *models])
    if outcome.exception is not None:
        raise UserError(f"dbt failed: {outcome.exception}", str(project)) from outcome.exception
    results = [_node_result(result) for result in outcome.result.results]  # type: ignore[union-attr]
    broken = [result for result in results if not result.ok and result.unique_id.startswith("model.")]
    if broken:
        raise UserError(f"dbt model '{broken[0].unique_id}' failed: {broken[0].message}", str(project))
    return results


def _node_result(result: object) -> NodeResult:
    node = result.node  # type: ignore[attr-defined]
    return NodeResult(
        node.unique_id,
        str(result.status) in ("success", "pass", "warn"),  # type: ignore[attr-defined]
        str(result.message or ""),  # type: ignore[attr-defined]
        int(result.failures or 0),  # type: ignore[attr-defined]
        float(result.execution_time),  # type: ignore[attr-defined]
        getattr(node, "compiled_code", None),
    )


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Sets variables for the length of one dbt call: its Spark adapter takes the address from nowhere else."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
