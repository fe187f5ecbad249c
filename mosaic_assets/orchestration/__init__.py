"""How the stations are run: steps, schedules, targets, the graph for other schedulers."""
