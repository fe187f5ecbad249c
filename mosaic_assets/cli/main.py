"""The ``mosaic`` command."""

import typer

from mosaic_assets.cli.clock import clock
from mosaic_assets.cli.demo import demo
from mosaic_assets.cli.doctor import doctor
from mosaic_assets.cli.features import features
from mosaic_assets.cli.init import init
from mosaic_assets.cli.materialize import materialize
from mosaic_assets.cli.quarantine import quarantine
from mosaic_assets.cli.serve import serve
from mosaic_assets.cli.status import status
from mosaic_assets.cli.trace import trace
from mosaic_assets.cli.up import up
from mosaic_assets.cli.upkeep import upkeep
from mosaic_assets.cli.validate import validate

__all__ = ["app"]

app = typer.Typer(
    name="mosaic",
    help="From raw tables to a served, monitored, retrained model: one Dagster asset graph.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
for verb in (init, validate, materialize, serve, up, status, features, trace, clock, upkeep, demo, doctor):
    app.command()(verb)
app.add_typer(quarantine)
