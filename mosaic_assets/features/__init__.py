"""Features: views over tables with an event time and a known time."""

from mosaic_assets.features.component import EntityComponent, FeatureServiceComponent, FeatureViewComponent
from mosaic_assets.features.windows.component import StreamFeatureViewComponent

__all__ = ["EntityComponent", "FeatureServiceComponent", "FeatureViewComponent", "StreamFeatureViewComponent"]
