"""The only place that opens anything: engines, tables, stores, trackers, queues. Plain Python, one folder per seam."""
