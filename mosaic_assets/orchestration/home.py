"""Dagster's own home inside the state folder: runs, events, schedules in SQLite, no telemetry."""

import os
from pathlib import Path

from mosaic_resources.telemetry import without_telemetry

__all__ = ["dagster_environment", "dagster_home"]

DAGSTER_YAML = """\
# Written by mosaic; kept when it exists, so edit it freely.
telemetry:
  enabled: false
nux:
  enabled: false
run_monitoring:
  enabled: true
sensors:
  use_threads: true
  num_workers: 2
"""


def dagster_home(state: Path) -> Path:
    """Returns the folder that ``DAGSTER_HOME`` names, else one below the state folder, made ready."""
    given = os.environ.get("DAGSTER_HOME")
    home = Path(given) if given else state / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    file = home / "dagster.yaml"
    if not file.exists():
        file.write_text(DAGSTER_YAML)
    return home


def dagster_environment(state: Path) -> dict[str, str]:
    """Returns the environment of Dagster's servers: this process's, with their home, and no telemetry."""
    home = dagster_home(state)
    return {**without_telemetry(os.environ, home), "DAGSTER_HOME": str(home)}
