"""Runs assets in this process, into the same instance that the UI and the daemon look at."""

import importlib
import tomllib
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from mosaic_assets.catalogue import importable
from mosaic_assets.orchestration.home import dagster_home
from mosaic_assets.orchestration.ticker import Ticker, listener
from mosaic_assets.work import BlockedError
from mosaic_resources.errors import MosaicError, UnknownNameError, UserError

__all__ = [
    "code_location",
    "definitions_module",
    "instance_of",
    "load_definitions",
    "materialize",
    "num_steps",
    "report_rows",
    "step_names",
]


def definitions_module(project_root: Path) -> str:
    """Returns the module that holds the project's definitions, as its pyproject.toml names it."""
    table = _dg_project(project_root)
    return str(table.get("code_location_target_module", f"{table['root_module']}.definitions"))


def code_location(project_root: Path) -> str:
    """Returns the name of the project's code location, as ``dg dev`` chooses it.

    Dagster keeps the cursors and run keys of sensors under this name, so every way to start it must use the same.
    """
    return str(_dg_project(project_root).get("code_location_name") or project_root.name)


def _dg_project(project_root: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((project_root / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    return table


def load_definitions(project_root: Path) -> dg.Definitions:
    """Returns the definitions of the project at ``project_root``."""
    importable(project_root)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = importlib.import_module(definitions_module(project_root)).defs
        return loaded() if callable(loaded) else loaded  # type: ignore[no-any-return]


@contextmanager
def instance_of(state: Path) -> Iterator[dg.DagsterInstance]:
    """Yields the project's Dagster instance."""
    with dg.DagsterInstance.from_config(str(dagster_home(state))) as instance:
        yield instance


def num_steps(defs: dg.Definitions, keys: Sequence[str]) -> int:
    """Returns the number of steps that make the assets; what one function makes together is one step."""
    return len(step_names(defs, keys))


def step_names(defs: dg.Definitions, keys: Sequence[str]) -> dict[str, str]:
    """Returns Dagster's step key of each step that makes the assets → the key of the first asset that it makes."""
    graph = defs.resolve_asset_graph()
    return {graph.get(dg.AssetKey(key.split("/"))).assets_def.node_def.name: key for key in reversed(keys)}


def materialize(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    keys: Sequence[str],
    *,
    partitions: tuple[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    ticker: Ticker | None = None,
    log_level: str = "CRITICAL",
) -> dg.ExecuteInProcessResult:
    """Runs the assets in one run, in order.

    Args:
        defs: The project's definitions.
        instance: Where events go.
        keys: Asset keys as text.
        partitions: First and last partition key, for partitioned assets.
        tags: Tags of the run.
        ticker: Is told while it goes.
        log_level: Least level of Dagster's events on the console; the instance keeps all of them.

    Raises:
        UnknownNameError: A key is not an asset of the project.
        MosaicError: What the first failed step raised, as it was; another error than ours is wrapped.
    """
    graph = defs.resolve_asset_graph()
    known = {key.to_user_string() for key in graph.executable_asset_keys}
    for key in keys:
        if key not in known:
            raise UnknownNameError("asset", key, known)
    selection = [dg.AssetKey(key.split("/")) for key in keys]
    job = defs.resolve_implicit_global_asset_job_def()
    first, last = partitions or (None, None)
    ranged = {ASSET_PARTITION_RANGE_START_TAG: first, ASSET_PARTITION_RANGE_END_TAG: last} if first != last else {}
    run_id, failures = str(uuid.uuid4()), dict[str, BaseException]()
    instance.add_event_listener(run_id, listener(ticker or Ticker(), step_names(defs, keys), failures))
    result = job.execute_in_process(
        instance=instance,
        asset_selection=selection,
        partition_key=first if first is not None and first == last else None,
        tags={**(tags or {}), **{name: value for name, value in ranged.items() if value}},
        raise_on_error=False,
        run_config={"loggers": {"console": {"config": {"log_level": log_level}}}},
        run_id=run_id,
    )
    if not result.success:
        raise _first_failure(result, failures, run_id)
    return result


def report_rows(
    instance: dg.DagsterInstance, table: str, version: int, num_rows: int, partitions: Sequence[str]
) -> None:
    """Tells Dagster that a table gained rows outside of a run, so that what is downstream follows.

    Args:
        instance: Where events go.
        table: Table and asset.
        version: Its version now.
        num_rows: Rows that it gained.
        partitions: Partitions that gained rows; none: it has no partitions.
    """
    for partition in partitions or (None,):
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                dg.AssetKey(table.split("/")),
                partition=partition,
                tags={"dagster/data_version": str(version)},
                metadata={"rows_released": num_rows, "delta_version": version},
            )
        )


def _first_failure(
    result: dg.ExecuteInProcessResult, failures: Mapping[str, BaseException], run_id: str
) -> MosaicError:
    """Returns the blocking check that failed, else what the first failed step raised."""
    blocked = next((error for error in failures.values() if isinstance(error, BlockedError)), None)
    if blocked is not None:
        return blocked  # It says which rows of which partition.
    for check in result.get_asset_check_evaluations():
        if check.blocking and not check.passed and check.severity == dg.AssetCheckSeverity.ERROR:
            key = check.asset_key.to_user_string()
            return UserError(
                f"The blocking check '{check.check_name}' failed: {check.description or 'see its metadata.'}", key,
                f"What stands on it is held back. Mend it, then run 'mosaic materialize {key}'.",
            )  # fmt: skip
    for asset, error in failures.items():
        if isinstance(error, MosaicError):
            return error
        wrapped = MosaicError(f"{type(error).__name__}: {error}".strip(), asset)
        wrapped.__cause__ = error
        return wrapped
    return MosaicError("The run failed before its first step.", f"run {run_id}", "See the Dagster UI.")
