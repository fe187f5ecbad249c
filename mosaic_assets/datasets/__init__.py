"""Datasets: features and a label, split, and pinned by a manifest that rebuilds the same rows."""

from mosaic_assets.datasets.component import DatasetComponent

__all__ = ["DatasetComponent"]
