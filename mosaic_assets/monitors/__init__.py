"""Monitors: profiles, drift, quality by late labels, incidents, and what they set off."""

from mosaic_assets.monitors.component import MonitorComponent

__all__ = ["MonitorComponent"]
