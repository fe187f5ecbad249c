"""The code location: everything under defs/, with the resources of the chosen target."""

from pathlib import Path

import dagster as dg

from mosaic_assets.orchestration.automation import lineage_sensor
from mosaic_resources.dagster import resources


@dg.definitions
def defs() -> dg.Definitions:
    """Returns the project's definitions."""
    here = Path(__file__).parent
    return dg.Definitions.merge(
        dg.load_from_defs_folder(path_within_project=here),
        dg.Definitions(resources=resources(here), sensors=[lineage_sensor()], executor=dg.in_process_executor),
    )
