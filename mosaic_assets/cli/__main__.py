"""``python -m mosaic_assets.cli`` is ``mosaic``."""

from mosaic_assets.cli.main import app

app()
