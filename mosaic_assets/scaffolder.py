"""What ``dg scaffold defs`` writes for a component of ours."""

from importlib import import_module
from typing import Any

import dagster as dg

from mosaic_assets.declaration_template import declaration, sample_files

__all__ = ["DeclarationScaffolder"]


class DeclarationScaffolder(dg.Scaffolder[Any]):
    """Writes a first declaration, and the files that it names, from the component's own fields.

    A component derived from ours has it too. Its class variable ``scaffolded`` names optional fields that a first
    declaration carries, since one of them must be given.
    """

    def scaffold(self, request: dg.ScaffoldRequest[Any]) -> None:
        """Writes ``defs.yaml`` and the samples beside it; in Python, what Dagster writes."""
        if request.scaffold_format != "yaml" or request.append:
            dg.scaffold_component(request)
            return
        module, _, name = request.type_name.rpartition(".")
        component = getattr(import_module(module), name)
        also = getattr(component, "scaffolded", ())
        files = {"defs.yaml": declaration(component, request.type_name, also), **sample_files(component, also)}
        for file, text in files.items():
            (request.target_path / file).write_text(text)
