"""HTTP services that rows are asked of."""
