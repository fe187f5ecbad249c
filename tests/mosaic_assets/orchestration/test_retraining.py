"""A retraining that an interruption has ended is run again; one that still runs, or is done, is not."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import GRPC_INFO_TAG

from mosaic_assets.monitors.sensors import COVERS_TAG, INCIDENT_TAG, MONITOR_TAG
from mosaic_assets.orchestration.retraining import REPEATS_TAG, _again, _broken
from mosaic_assets.orchestration.ticker import Ticker

TAGS = {MONITOR_TAG: "tiny", INCIDENT_TAG: "tiny/drift@1", COVERS_TAG: "tiny/drift@1", "dagster/run_key": "x"}
SEEN: list[str] = []


@dg.asset(key=["models", "tiny"])
def tiny(context: dg.AssetExecutionContext) -> None:
    SEEN.append(context.run.tags[INCIDENT_TAG])


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Any]:
    """The parts of a stage that matter here."""
    defs = dg.Definitions([tiny], executor=dg.in_process_executor)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield SimpleNamespace(instance=instance, defs=defs, script=SimpleNamespace(monitor="tiny"))


def begin(stage: Any, status: dg.DagsterRunStatus, port: int | None = None) -> dg.DagsterRun:
    server = {GRPC_INFO_TAG: json.dumps({"host": "127.0.0.1", "port": port})} if port else {}
    job = stage.defs.resolve_implicit_global_asset_job_def()
    return stage.instance.create_run_for_job(job, status=status, tags={**TAGS, **server})  # type: ignore[no-any-return]


def test_retraining_whose_server_is_gone_is_broken(stage: Any) -> None:
    assert _broken(stage) is None
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        run = begin(stage, dg.DagsterRunStatus.STARTED, server.getsockname()[1])
        assert _broken(stage) is None
    found = _broken(stage)
    assert found is not None
    assert found.run_id == run.run_id


@pytest.mark.parametrize(("status", "broken"), [("SUCCESS", False), ("FAILURE", True), ("CANCELED", True)])
def test_retraining_that_has_ended_is_broken_unless_it_was_a_success(stage: Any, status: str, broken: bool) -> None:
    begin(stage, dg.DagsterRunStatus(status))
    assert (_broken(stage) is not None) is broken


def test_broken_retraining_is_run_again_for_the_same_incident(stage: Any) -> None:
    SEEN.clear()
    broken = begin(stage, dg.DagsterRunStatus.STARTED)
    run = _again(stage, broken, ["models/tiny"], Ticker())
    assert (run.status, SEEN) == (dg.DagsterRunStatus.SUCCESS, ["tiny/drift@1"])
    assert (run.tags[REPEATS_TAG], run.tags[COVERS_TAG]) == (broken.run_id, "tiny/drift@1")
    assert "dagster/run_key" not in run.tags
    assert stage.instance.get_run_by_id(broken.run_id).status is dg.DagsterRunStatus.FAILURE
    assert _broken(stage) is None
