"""Upkeep of a project's lake: by the command, by the component, around what a dataset and a model pin."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from mosaic_assets.cli.main import app
from mosaic_assets.datasets.build import DatasetPlan, build_rows, finish, rebuild, usable_rows
from mosaic_assets.datasets.fake import fake_manifest
from mosaic_assets.datasets.row_hash import row_hash
from mosaic_assets.datasets.splits import Splitting
from mosaic_assets.datasets.time_splits import TimeSplit
from mosaic_assets.features.definition import service_definition
from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, FeatureView, Field
from mosaic_assets.upkeep.component import TableUpkeepComponent
from mosaic_assets.upkeep.keep import Rules, as_markdown, as_rows, chosen, keep
from mosaic_assets.upkeep.pins import Pins, pins_of
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.fake import write_fake_model
from mosaic_resources.dagster import MosaicResource
from mosaic_resources.delta.commit import Commit
from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.mlflow.contract import RunRequest
from mosaic_resources.seams import Seams
from mosaic_resources.settings.settings import load_settings

JANUARY, CUTOFF = datetime(2013, 1, 1, tzinfo=UTC), datetime(2013, 3, 10, tzinfo=UTC)
VIEW = FeatureView("v", (Entity("e", ("k",)),), (Field("x", "float64"),), "features/v")
SERVICE = FeatureService.of("s", [VIEW], [FeatureRef.parse("v:*")])
PLAN = DatasetPlan("d", SERVICE, ("id",), "asked_at", "late", "label_known_ts", ("k",))


def times(days):
    return pa.array([JANUARY + timedelta(days=day) for day in days], pa.timestamp("us", tz="UTC"))


def labels(num_days):
    days = range(num_days)
    return pa.table(
        {"id": [f"i{day}" for day in days], "k": ["a"] * num_days, "asked_at": times(days),
         "label_known_ts": times(day + 1 for day in days), "late": [day % 3 == 0 for day in days]}
    )  # fmt: skip


def view_rows(factor):
    days = list(range(0, 80, 5))
    return pa.table(
        {
            "k": ["a"] * len(days),
            "event_ts": times(days),
            "known_ts": times(days),
            "x": [day * 1.0 * factor for day in days],
        }
    )


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in (
        "DAGSTER_HOME",
        "MOSAIC_STATE",
        "MOSAIC_LANDING",
        "MOSAIC_LAKE",
        "MOSAIC_TARGET",
        "MLFLOW_TRACKING_URI",
    ):
        monkeypatch.delenv(name, raising=False)
    root = tmp_path / "project"
    root.mkdir()
    (root / "pyproject.toml").write_text('[tool.dg]\ndirectory_type = "project"\n')
    return root


@pytest.fixture
def seams(project):
    return Seams(load_settings(project, {}))


def numbers(*values):
    return pa.table({"k": pa.array(values, pa.int64())})


def files(lake, table):
    return {str(file) for file in Path(lake.path(table)).rglob("*.parquet") if "_delta_log" not in str(file)}


def test_every_pinned_dataset_rebuilds_to_its_hash_after_upkeep_and_what_nothing_pins_is_gone(engine, seams, tmp_path):
    lake, manifests, folder = seams.lake, [], seams.settings.state / "manifests"
    splitting = Splitting(bounds=TimeSplit(1).bounds(CUTOFF))
    for factor in range(1, 6):
        for part in range(3):  # several files a version, so that there is something to compact
            rows = view_rows(factor).slice(part * 6, 6)
            view_version = lake.write("features/v", rows, Commit("v"), mode="append" if part else "overwrite")
        label_version = lake.write("tables/labels", labels(80 - 2 * factor), Commit("l"))
        usable = usable_rows(PLAN, lake.read("tables/labels"), CUTOFF, splitting)
        pinned = splitting.pinned(usable, CUTOFF, "asked_at")
        made = build_rows(PLAN, usable, lambda view: lake.read(view.source), pinned)
        draft = fake_manifest(
            "d", tables={"tables/labels": label_version, "features/v": view_version},
            query="select * from tables.labels", service=service_definition(SERVICE), entity_key=("id",),
            timestamp_field="asked_at", label="late", label_known_field="label_known_ts", request=("k",),
            cutoff_utc=CUTOFF.isoformat(), split=tuple(bound.isoformat() for bound in pinned.bounds),
            splitting=pinned.to_dict(),
        )  # fmt: skip
        manifests.append(finish(draft, made, ["id"]))
        file = manifests[-1].save(folder)
        os.utime(file, (time.time() - (10 - factor) * 86400,) * 2)
    registry = seams.registry
    run = registry.start_run(RunRequest("delay", "r"))
    write_fake_model(tmp_path / "m", Encoding(("x",), {}), (0.1,), version="unregistered", name="delay")
    registry.register("delay", tmp_path / "m", run, {"manifest_id": manifests[1].id})

    pins = pins_of(seams, timedelta(hours=1))
    before = files(lake, "features/v")
    rules = Rules(cluster_by={"features/v": ["k", "event_ts"]}, retention=timedelta(0))
    reports = list(keep(lake, ["features/v", "tables/labels"], rules, pins, Commit("upkeep")))
    assert [report.problem for report in reports] == [None, None]
    assert reports[0].rewritten
    after = files(lake, "features/v")
    assert len(before - after) == 9  # three files each of the first, the third and the fourth
    for living in (manifests[1], manifests[4]):
        assert row_hash(rebuild(living, engine.session(), lake), ["id"]) == living.row_hash
    for freed in (manifests[0], manifests[2], manifests[3]):
        with pytest.raises(FileNotFoundError):
            lake.read("features/v", freed.tables["features/v"])
        assert f"d-{freed.id}" in pins.released
    text = as_markdown(reports)
    assert f"is kept for manifest d-{manifests[1].id} (model delay 1)" in text
    assert as_rows(reports)[0]["kept_bytes"] > 0


def test_the_command_shows_first_and_then_does(project, seams):
    for number in range(4):
        seams.lake.write("tables/a", numbers(number), Commit("a"), mode="append")
    seams.lake.write("tables/a", numbers(9), Commit("a"))
    here = ["--project", str(project), "--output", "json"]

    def told(*arguments):
        outcome = CliRunner().invoke(app, ["upkeep", *arguments, *here])
        assert outcome.exit_code == 0, outcome.output
        return json.loads(outcome.stdout)

    (shown,) = told("--dry-run", "--retention", "0s")
    assert (shown["removed_files"], shown["rewritten"], seams.lake.version("tables/a")) == (4, None, 5)
    (done,) = told("tables/*", "--retention", "0s")
    assert done["removed_bytes"] == shown["removed_bytes"] > 0
    assert len(files(seams.lake, "tables/a")) == 1
    assert told("features/*") == []
    text = CliRunner().invoke(app, ["upkeep", "--dry-run", "--project", str(project)]).stdout
    assert "would remove" in text
    assert "tables/a" in text


def test_the_command_refuses_what_it_does_not_know(project, seams):
    seams.lake.write("tables/a", numbers(1), Commit("a"))
    outcome = CliRunner().invoke(app, ["upkeep", "tables/b", "--project", str(project), "--output", "json"])
    assert outcome.exit_code == 1
    assert "Did you mean 'tables/a'" in json.loads(outcome.stdout)["message"]
    outcome = CliRunner().invoke(app, ["upkeep", "--retention", "soon", "--project", str(project), "--output", "json"])
    assert "'soon' is no duration" in json.loads(outcome.stdout)["message"]


def test_one_table_that_fails_does_not_keep_the_others_from_their_upkeep(seams):
    for table in ("tables/a", "tables/b"):
        for number in range(3):
            seams.lake.write(table, numbers(number), Commit("a"), mode="append")
    rules = Rules(cluster_by={"tables/a": ["nope"]})
    reports = list(keep(seams.lake, ["tables/a", "tables/b"], rules, Pins({}), Commit("up")))
    assert "column 'nope' is not declared" in reports[0].problem
    assert reports[1].rewritten
    assert "nope" in as_markdown(reports)
    assert "nope" in str(as_rows(reports)[0]["problem"])


def test_tables_are_chosen_by_pattern_and_a_wrong_name_is_refused():
    assert chosen(["features/v", "tables/a", "tables/b"], ["tables/*"]) == ["tables/a", "tables/b"]
    with pytest.raises(UnknownNameError, match="table 'tables/c' is not declared"):
        chosen(["tables/a"], ["tables/c"])


def test_the_component_makes_an_asset_a_job_and_a_schedule(project, seams):
    for number in range(3):
        seams.lake.write("tables/a", numbers(number), Commit("a"), mode="append")
    component = TableUpkeepComponent(
        name="nightly", tables=["tables/*"], cluster_by={"tables/a": ["k"]}, target_file_bytes=1 << 20,
        retention="7d", schedule="0 3 * * *", missing_manifests="ignore", optimize=True, vacuum=True,
    )  # fmt: skip
    defs = dg.Definitions.merge(
        component.build_defs(_Context(project)),
        dg.Definitions(resources={"mosaic": MosaicResource(project_root=str(project))}),
    )
    assert [schedule.cron_schedule for schedule in defs.schedules] == ["0 3 * * *"]
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs.resolve_job_def("upkeep_nightly").execute_in_process(instance=instance)
        (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    assert (metadata["tables"].value, metadata["tables_rewritten"].value) == (1, 1)
    assert "| tables/a | yes |" in metadata["report"].value
    newest = seams.lake.history("tables/a", 1)[0]
    assert (newest["operation"], newest["run_id"], newest["asset"]) == ("OPTIMIZE", result.run_id, "upkeep/nightly")


def test_the_component_tells_what_failed_when_the_others_are_done(project, seams):
    for table in ("tables/a", "tables/b"):
        for number in range(3):
            seams.lake.write(table, numbers(number), Commit("a"), mode="append")
    component = TableUpkeepComponent(name="n", cluster_by={"tables/a": ["nope"]})
    defs = dg.Definitions.merge(
        component.build_defs(_Context(project)),
        dg.Definitions(resources={"mosaic": MosaicResource(project_root=str(project))}),
    )
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(UserError, match="1 of 2 tables failed.*'nope'"):
        defs.resolve_job_def("upkeep_n").execute_in_process(instance=instance)
    assert seams.lake.history("tables/b", 1)[0]["operation"] == "OPTIMIZE"


class _Context:
    """As much of a load context as a component declared in Python needs."""

    component_decl = None

    def __init__(self, path):
        self.path = path
