"""Raw tables from HTTP services."""
