"""Services: the champion as a Bento, and the endpoint that runs it."""

from mosaic_assets.services.component import ServiceComponent

__all__ = ["ServiceComponent"]
