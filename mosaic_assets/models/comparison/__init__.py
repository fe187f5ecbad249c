"""Versions of a model side by side, as an op job tracked by dagster-mlflow."""
