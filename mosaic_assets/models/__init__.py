"""Models: trained by Composer, tracked and registered in MLflow, promoted through declared thresholds."""

from mosaic_assets.models.comparison.component import ModelComparisonComponent
from mosaic_assets.models.component import ModelComponent, ReferenceModelComponent

__all__ = ["ModelComparisonComponent", "ModelComponent", "ReferenceModelComponent"]
