"""The races: one file each, beside the peers that it names."""
