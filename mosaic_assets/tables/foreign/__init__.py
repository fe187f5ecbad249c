"""Raw tables from Delta tables of another lake."""
