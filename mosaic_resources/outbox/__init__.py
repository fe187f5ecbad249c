"""The outbox: lineage events wait here, on local disk, until a drainer has sent them."""
