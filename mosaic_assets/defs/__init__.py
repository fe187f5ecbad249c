"""The project's declarations; each folder is a story."""
