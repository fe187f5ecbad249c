"""What we start sends nothing home: each tool's own switch, unless the user has set it."""

from collections.abc import Mapping
from pathlib import Path

__all__ = ["OPT_OUTS", "without_telemetry"]

# DO_NOT_TRACK is not among them: MLflow and dbt heed it against an explicit setting of their own variable.
OPT_OUTS = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WHYLOGS_NO_ANALYTICS": "True",
}
DAGSTER_OPT_OUT = {"DAGSTER_DISABLE_TELEMETRY": "1"}  # Dagster looks only whether it is there.


def without_telemetry(environ: Mapping[str, str], dagster_home: Path | None = None) -> dict[str, str]:
    """Returns an environment with every switch set that was not set before.

    Args:
        environ: The environment so far.
        dagster_home: Home of Dagster's servers that will run in it: a ``telemetry.enabled`` in its dagster.yaml holds.

    Example:
        >>> without_telemetry({"MLFLOW_DISABLE_TELEMETRY": "false"})["MLFLOW_DISABLE_TELEMETRY"]
        'false'
    """
    dagster = DAGSTER_OPT_OUT if dagster_home is not None and not _says(dagster_home / "dagster.yaml") else {}
    return {**OPT_OUTS, **dagster, **environ}


def _says(file: Path) -> bool:
    """Returns whether a dagster.yaml says itself what becomes of telemetry."""
    import yaml

    try:
        told = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError):  # Dagster itself complains of a broken one.
        return False
    telemetry = told.get("telemetry") if isinstance(told, dict) else None
    return isinstance(telemetry, dict) and "enabled" in telemetry
