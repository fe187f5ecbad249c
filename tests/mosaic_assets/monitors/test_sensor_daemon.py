"""The retraining sensor under a real daemon: one run for three incidents, none more after a restart."""

import os
import signal
import time
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from mosaic_resources.seams import Seams
from mosaic_resources.settings.clock import set_simulated_clock

NOW = datetime(2013, 8, 2, tzinfo=UTC)
PATIENCE_SECONDS = 90


@pytest.fixture
def project(tmp_path, story, monkeypatch):
    root = story.make_project(tmp_path)
    (root / "home").mkdir()
    (root / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    seams = Seams.of(root)
    set_simulated_clock(seams.settings.state, NOW)
    monkeypatch.setenv("DAGSTER_HOME", str(root / "home"))
    return root, seams


class Daemon:
    """A daemon process of its own session; ends with everything that it started."""

    def __init__(self, story, root, workspace="workspace.yaml", home="home"):
        self.log = root / "daemon.log"
        self.process = story.start(["dagster._daemon", "run", "-w", workspace], root, self.log, home)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=20)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(timeout=10)


def cursor_of(instance):
    states = instance.all_instigator_state()
    return [state.instigator_data.cursor for state in states if state.instigator_data and state.instigator_data.cursor]


def ticks_of(instance):
    states = instance.all_instigator_state()
    return [tick for state in states for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id)]


def wait(daemon, condition):
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert daemon.process.poll() is None, daemon.log.read_text()[-3000:]
        assert time.monotonic() < until, daemon.log.read_text()[-3000:]
        time.sleep(0.5)


def test_three_incidents_within_the_cooldown_start_one_run_and_a_restart_none(project, story):
    root, seams = project
    story.open_incident(seams, "tiny/drift")
    with dg.DagsterInstance.get() as instance:

        def finished():
            return instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS]))

        def ticks_more(than):
            return lambda: len(ticks_of(instance)) >= than

        with Daemon(story, root) as daemon:
            wait(daemon, lambda: finished() == 1)
            for key in ("tiny/quality", "tiny/latency"):
                story.open_incident(seams, key)
                wait(daemon, ticks_more(len(ticks_of(instance)) + 2))
        kept = cursor_of(instance)
        with Daemon(story, root) as daemon:
            wait(daemon, ticks_more(len(ticks_of(instance)) + 2))
        assert instance.get_runs_count() == 1
        assert cursor_of(instance) == kept
        assert instance.get_runs()[0].tags["mosaic/incident"] == "tiny/drift@1"
        assert instance.get_runs()[0].tags["dagster/run_key"] == "tiny/drift@1"
        set_simulated_clock(seams.settings.state, NOW + timedelta(hours=2))
        with Daemon(story, root) as daemon:
            wait(daemon, lambda: finished() == 2)
            wait(daemon, ticks_more(len(ticks_of(instance)) + 2))
        runs = instance.get_runs()
        assert len(runs) == 2
        assert runs[0].tags["mosaic/covers"] == "tiny/latency@1,tiny/quality@1"


@pytest.mark.slow
def test_another_location_name_and_a_new_instance_retrain_nothing_again(project, story):
    root, seams = project
    story.open_incident(seams, "tiny/drift")
    named = (root / "workspace.yaml").read_text()
    (root / "renamed.yaml").write_text(named.replace("location_name: story", "location_name: main"))
    (root / "second").mkdir()
    (root / "second" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.get() as first, dg.DagsterInstance.from_config(str(root / "second")) as second:
        with Daemon(story, root) as daemon:
            wait(daemon, lambda: first.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])) == 1)
        before = len(ticks_of(first))
        with Daemon(story, root, "renamed.yaml") as daemon:
            wait(daemon, lambda: len(ticks_of(first)) >= before + 3)
        assert first.get_runs_count() == 1
        with Daemon(story, root, home="second") as daemon:
            wait(daemon, lambda: len(ticks_of(second)) >= 3)
        assert second.get_runs_count() == 0
