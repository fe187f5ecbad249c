"""A tiny real project with one monitor, as a user writes it."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from mosaic_assets.monitors.incident_log import append_events
from mosaic_assets.monitors.incidents import Observation, Policy, observe
from mosaic_resources.delta.commit import Commit
from mosaic_resources.seams import Seams

UTC_TIME = pa.timestamp("us", tz="UTC")
PYPROJECT = """
[project]
name = "story"
version = "0"
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "story"
code_location_target_module = "story.definitions"
"""
DEFINITIONS = """
from pathlib import Path
import dagster as dg
from mosaic_resources.dagster import resources

@dg.definitions
def defs():
    here = Path(__file__).parent
    folder = dg.load_from_defs_folder(path_within_project=here)
    return dg.Definitions.merge(
        folder, dg.Definitions(resources=resources(here), executor=dg.in_process_executor)
    )
"""
RETRAIN = """
import dagster as dg

@dg.asset(key=["models", "tiny"])
def tiny(context: dg.AssetExecutionContext) -> None:
    context.log.info(context.run.tags["mosaic/incident"])
"""
MONITOR = """
type: mosaic_assets.monitors.MonitorComponent
attributes:
  name: tiny
  description: Watches the tiny story.
  table_name: predictions/tiny
  timestamp_col: asked_at
  granularities: [1 day, 1 month]
  exclude_columns: [probability]
  slicing_exprs: [origin]
  prediction_col: probability
  model_id_col: model_version
  label_col: late
  label_table_name: tables/labels
  label_known_col: known_ts
  entity_key: [id]
  min_labelled_rows: 100
  baseline_table_name: datasets/tiny
  partitions_def: {type: monthly, start_date: "2013-01", end_date: "2014-01"}
  incident: {min_rows: 200, owner: "team:flights"}
  retraining: {assets: [models/tiny], cooldown: 1h, interval_seconds: 1}
"""


def make_project(root: Path, monitor: str = MONITOR) -> Path:
    """Writes the project's files and returns its root."""
    files = {
        "pyproject.toml": PYPROJECT,
        "story/__init__.py": "",
        "story/definitions.py": DEFINITIONS,
        "story/defs/__init__.py": "",
        "story/defs/retrain.py": RETRAIN,
        "story/defs/monitor/defs.yaml": monitor,
        "workspace.yaml": "load_from: [{python_module: {module_name: story.definitions, working_directory: "
        f"{root}, location_name: story}}}}]\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text.lstrip())
    return root


ASSETS = ("profile_metrics", "baseline", "drift_metrics", "incidents")


def load(root: Path, monkeypatch: pytest.MonkeyPatch) -> dg.Definitions:
    """Loads the project's definitions anew."""
    monkeypatch.syspath_prepend(str(root))
    for name in [name for name in sys.modules if name.split(".")[0] == "story"]:
        monkeypatch.delitem(sys.modules, name)
    from story.definitions import defs

    return defs()


def run(
    defs: dg.Definitions, month: str, assets: Sequence[str] = ASSETS, *, partition: bool = True
) -> dg.ExecuteInProcessResult:
    """Materializes the monitor's assets one after the other and returns the last result."""
    repository = defs.get_repository_def()
    for kind in assets:
        key = dg.AssetKey(["monitors", f"tiny_{kind}"])
        job = repository.get_implicit_job_def_for_assets([key])
        split = partition and kind in ("profile_metrics", "drift_metrics", "decision")
        result = job.execute_in_process(
            asset_selection=[key], partition_key=month if split else None, instance=dg.DagsterInstance.ephemeral()
        )
        assert result.success
    return result


def rows(month: int, shift: float = 0.0, num_rows: int = 900) -> pa.Table:
    """Returns a month of requests whose features are shifted."""
    rng = np.random.default_rng(month)
    days = rng.integers(1, 28, num_rows)
    score = rng.random(num_rows)
    return pa.table(
        {
            "id": [f"{month}-{n}" for n in range(num_rows)],
            "asked_at": pa.array([datetime(2013, month, d, 12, tzinfo=UTC) for d in days.tolist()], UTC_TIME),
            "temp": rng.normal(shift, 1.0, num_rows),
            "delay": rng.exponential(1.0 + shift, num_rows),
            "origin": rng.choice(["JFK", "LGA"], num_rows).tolist(),
            "late": rng.random(num_rows) < score,
            "probability": score,
            "model_version": ["1"] * num_rows,
        }
    )


def land(seams: Seams, predictions: pa.Table, training: pa.Table) -> None:
    """Writes the tables that the monitor reads."""
    known = pa.array([datetime(2013, 9, 1, tzinfo=UTC)] * predictions.num_rows, UTC_TIME)
    labels = predictions.select(["id", "late"]).append_column("known_ts", known)
    for name, data in (
        ("predictions/tiny", predictions.drop_columns("late")),
        ("tables/labels", labels),
        ("datasets/tiny", training.append_column("split", pa.array(["train"] * training.num_rows))),
    ):
        seams.lake.write(name, data, Commit("test"))


def open_incident(seams: Seams, key: str) -> None:
    """Puts an open incident into the log, as the monitor does."""
    now = datetime(2013, 8, 1, tzinfo=UTC)
    seen = Observation(key, datetime(2013, 7, 1, tzinfo=UTC), "b1", 0.5)
    append_events(seams.lake, "tiny", lambda log: observe(log, seen, Policy(), now))


def start(command: list[str], root: Path, log: Path, home: str = "home") -> "subprocess.Popen[bytes]":
    """Starts a Dagster process of this environment in the project, in a session of its own."""
    import os

    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "DAGSTER_HOME": str(root / home), "PYTHONPATH": path, "DAGSTER_DISABLE_TELEMETRY": "1"}
    with log.open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", *command], cwd=root, env=env, stdout=out, stderr=out, start_new_session=True
        )
