"""Exploration: one page that shows what a table or a dataset holds."""
