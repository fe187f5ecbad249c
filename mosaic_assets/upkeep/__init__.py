"""Upkeep of the lake: files compacted and clustered, old versions removed around what is pinned."""

from mosaic_assets.upkeep.component import TableUpkeepComponent

__all__ = ["TableUpkeepComponent"]
