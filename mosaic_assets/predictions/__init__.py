"""Predictions: what was answered, and what was scored in batches."""

from mosaic_assets.predictions.component import BatchPredictionComponent, InferenceTableComponent

__all__ = ["BatchPredictionComponent", "InferenceTableComponent"]
