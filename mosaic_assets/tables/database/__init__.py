"""Raw tables from databases."""
