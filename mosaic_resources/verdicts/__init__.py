"""Verdicts on partitions: what a blocking check refused, kept for those who would read."""
