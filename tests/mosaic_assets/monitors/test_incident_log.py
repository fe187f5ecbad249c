"""The log of incidents in a real Delta table."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from mosaic_assets.monitors.incident_log import INCIDENTS, append_events, read_events
from mosaic_assets.monitors.incidents import Observation, Policy, Reason, observe

START = datetime(2013, 7, 1, tzinfo=UTC)
REASON = Reason("temp", "population_stability_index", 6.5, 0.2)


def seen(day, score=0.5, key="m/drift"):
    return Observation(key, START + timedelta(days=day), "b1", score, (REASON,))


def add(lake, monitor, one):
    return append_events(lake, monitor, lambda log: observe(log, one, Policy(), START))


def test_events_come_back_as_they_were_written(lake):
    assert read_events(lake, "m") == []
    added = add(lake, "m", seen(0))
    assert [event.kind for event in added] == ["observed", "opened"]
    assert read_events(lake, "m") == added
    assert added[-1].reasons == (REASON,)


def test_same_window_is_written_once_and_monitors_do_not_see_each_other(lake):
    add(lake, "m", seen(0))
    version = lake.version(INCIDENTS)
    assert add(lake, "m", seen(0)) == []
    assert lake.version(INCIDENTS) == version
    assert [event.sequence for event in add(lake, "other", seen(0))] == [1, 2]
    assert len(read_events(lake, "m")) == 2


def test_writers_at_once_lose_and_double_nothing(lake):
    add(lake, "m", seen(0, key="m/0"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: add(lake, "m", seen(0, key=f"m/{n % 4}")), range(8)))
    log = read_events(lake, "m")
    assert [event.sequence for event in log] == list(range(1, 9))
    assert sorted(event.name for event in log if event.kind == "opened") == [f"m/{n}@1" for n in range(4)]
