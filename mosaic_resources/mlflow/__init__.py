"""MLflow: one run for each materialization of a model, and the registry of its versions."""
