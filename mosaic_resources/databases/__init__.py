"""Databases that raw tables are read from: one contract, two ways to connect."""
