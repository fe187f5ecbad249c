"""Windows: declared aggregations over a source table, computed incrementally, bitemporally exact."""
