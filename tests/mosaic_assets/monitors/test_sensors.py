"""One retraining for one opening of an incident, whichever instance, code location or crash stands between."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from mosaic_assets.monitors.incident_log import read_events
from mosaic_assets.monitors.sensors import COVERS_TAG, INCIDENT_TAG, MONITOR_TAG, retraining_sensor
from mosaic_resources.dagster import MosaicResource
from mosaic_resources.seams import Seams
from mosaic_resources.settings.clock import set_simulated_clock

NOW = datetime(2013, 8, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def project(tmp_path, story):
    root = story.make_project(tmp_path / "project")
    seams = Seams.of(root)
    set_simulated_clock(seams.settings.state, NOW)
    return root, seams


@pytest.fixture
def open_instance(tmp_path):
    def opened(name):
        (tmp_path / name).mkdir(exist_ok=True)
        return dg.DagsterInstance.local_temp(str(tmp_path / name))

    return opened


def look(root, instance, cursor=None):
    """One tick, as the daemon asks for it; nothing is launched."""
    sensor = retraining_sensor("tiny", assets=["models/tiny"], job=None, cooldown=HOUR, interval_seconds=1)
    resources = {"mosaic": MosaicResource(project_root=str(root))}
    context = dg.build_sensor_context(instance=instance, cursor=cursor, resources=resources, sensor_name=sensor.name)
    told = sensor.evaluate_tick(context)
    return [request.run_key for request in told.run_requests], told.cursor


def launch(instance, covers):
    """Puts the run into the instance that the daemon makes of a request, of a job in any code location."""
    job = dg.define_asset_job("any", "*").resolve(asset_graph=dg.Definitions().resolve_asset_graph())
    tags = {MONITOR_TAG: "tiny", INCIDENT_TAG: covers[0], COVERS_TAG: ",".join(covers)}
    return instance.create_run_for_job(job, tags=tags)


def test_sensor_with_a_fresh_cursor_sees_the_runs_of_other_locations(project, story, open_instance):
    root, seams = project
    story.open_incident(seams, "tiny/drift")
    with open_instance("one") as instance:
        launch(instance, ["tiny/drift@1"])  # no claim: made by an earlier version, or by hand
        assert look(root, instance)[0] == []


def test_new_instance_on_an_old_lake_launches_nothing_again(project, story, open_instance):
    root, seams = project
    story.open_incident(seams, "tiny/drift")
    with open_instance("one") as instance:
        assert look(root, instance)[0] == ["tiny/drift@1"]
    claim = read_events(seams.lake, "tiny")[-1]
    assert (claim.kind, claim.state, claim.note) == ("claimed", "open", "retraining tiny/drift@1")
    with open_instance("two") as instance:
        assert look(root, instance)[0] == []
        story.open_incident(seams, "tiny/quality")
        assert look(root, instance)[0] == []  # the cool-down holds there too
        set_simulated_clock(seams.settings.state, NOW + HOUR)
        assert look(root, instance)[0] == ["tiny/quality@1"]


def test_tick_that_dies_between_claim_and_launch_is_taken_up_by_the_same_instance(project, story, open_instance):
    root, seams = project
    story.open_incident(seams, "tiny/drift")
    with open_instance("one") as instance:
        look(root, instance)  # the claim is written; the daemon dies before it stores cursor and run
    with open_instance("one") as instance:
        keys, cursor = look(root, instance)
        assert keys == ["tiny/drift@1"]
        launch(instance, keys)
        assert look(root, instance, cursor)[0] == look(root, instance)[0] == []
    assert [event.kind for event in read_events(seams.lake, "tiny")].count("claimed") == 1


def test_two_instances_at_once_launch_once(project, story, open_instance, monkeypatch):
    root, seams = project
    story.open_incident(seams, "tiny/drift")
    import mosaic_assets.monitors.sensors as sensors

    first = sensors.read_events
    with open_instance("one") as one, open_instance("two") as two:

        def meanwhile(lake, monitor):
            log = first(lake, monitor)
            monkeypatch.setattr(sensors, "read_events", first)
            assert look(root, two)[0] == ["tiny/drift@1"]
            return log

        monkeypatch.setattr(sensors, "read_events", meanwhile)
        assert look(root, one)[0] == []


@pytest.mark.java
@pytest.mark.timeout(600)
def test_claim_lands_where_spark_commits(project, story, open_instance, monkeypatch):
    root, _ = project
    monkeypatch.setenv("MOSAIC_ENGINE", "spark")
    seams = Seams.of(root)
    story.open_incident(seams, "tiny/drift")
    with open_instance("one") as instance:
        assert look(root, instance)[0] == ["tiny/drift@1"]
    assert [event.kind for event in read_events(seams.lake, "tiny")] == ["observed", "opened", "claimed"]
