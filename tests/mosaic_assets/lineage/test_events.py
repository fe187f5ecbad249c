"""What a step says as OpenLineage events, each checked against the specification."""

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import attr
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mosaic_assets.lineage.events import encode, events_of
from mosaic_assets.lineage.facets import DATASET_FACETS, RUN_FACETS, SCHEMAS, make_facet
from mosaic_assets.lineage.record import Assertion, DatasetUse, StepEvent, StepIdentity, StepRecord
from mosaic_assets.lineage.step import step
from mosaic_assets.lineage.stored import dump, load
from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.outbox.outbox import Outbox

Validate = Callable[[Mapping[str, Any]], None]
SAMPLES: dict[str, dict[str, object]] = {
    "datasetType": {"datasetType": "FILE"},
    "mosaic_asset": {"assetKey": "tables/flights"},
    "mosaic_manifest": {
        "manifestId": "m", "rowHash": "h", "featureService": "delay", "cutoff": "2013-07-01T00:00:00Z",
        "rowsBySplit": {"train": 3}, "tables": {"tables/flights": 4},
    },
    "mosaic_featureView": {
        "view": "aircraft", "entities": ["aircraft"], "timestampField": "event_ts", "ttlSeconds": 3600.0,
    },
    "mosaic_model": {
        "registeredModelName": "delay", "version": "3", "runId": "r", "manifestId": None,
        "metrics": {"auc": 0.77, "loss": math.nan},
    },
    "mosaic_service": {"bentoTag": "delay:b", "registeredModelName": "delay", "modelVersion": "3"},
    "mosaic_endpoint": {"service": "delay", "bentoTag": "delay:b", "modelVersion": "3", "url": "http://127.0.0.1:8000"},
    "mosaic_incident": {
        "incident": "weather/drift", "epoch": 1, "state": "open", "severity": "warning", "metric": "ks_test",
        "openedAt": "2013-07-05T00:00:00Z", "value": 0.4, "threshold": 0.2,
    },
    "mosaic_step": {"assetKey": "a", "dagsterRunId": "r", "codeVersion": "c"},
    "mosaic_promotion": {
        "registeredModelName": "delay", "challenger": "2", "champion": "1", "verdict": "promote", "reasons": ["better"],
    },
}  # fmt: skip


def plain(outbox: Outbox) -> list[dict[str, Any]]:
    return [json.loads(text) for event in outbox.events() for text in encode(event.body)]


def test_events_of_the_story_are_valid(outbox: Outbox, story: SimpleNamespace, validate: Validate) -> None:
    story.tell(outbox)
    events = plain(outbox)
    assert len(events) == 2 * len({event["run"]["runId"] for event in events})
    for event in events:
        validate(event)
        assert event["run"]["facets"]["parent"]["job"]["name"] == "dagster"


def test_events_say_everything(outbox: Outbox, story: SimpleNamespace, validate: Validate) -> None:
    month = {
        "start": datetime(2013, 7, 1, tzinfo=timezone(timedelta(hours=2))),
        "end": datetime(2013, 8, 1, tzinfo=UTC),
    }
    identity = story.identity("tables/flights", "1e031aa4-0000-4000-8000-000000000000", "2013-07", **month)
    with step(identity, outbox, clock=lambda: story.now) as said:
        said.reads(story.table("raw/flights", 3))
        said.wrote(
            story.table("tables/flights", 7, 99), {"delay": [("file:///lake/raw/flights", "dep_delay")], "one": []}
        )
        said.checked("on_time", True)
        said.checked("known", False, "tailnum", blocking=True)
        said.engine("sail", "0.7.2")
        said.describe("mosaic_manifest", **SAMPLES["mosaic_manifest"])
    start, complete, check_start, check_complete = plain(outbox)
    for event in (start, complete, check_start, check_complete):
        validate(event)
    assert (start["inputs"], start["outputs"]) == ([], [])
    assert start["run"]["runId"] == complete["run"]["runId"] == identity.run_id
    facets = complete["run"]["facets"]
    assert facets["parent"]["run"]["runId"] == "1e031aa4-0000-4000-8000-000000000000"
    assert facets["processing_engine"]["name"] == "sail"
    assert facets["nominalTime"]["nominalStartTime"] == "2013-06-30T22:00:00.000000Z"
    assert facets["nominalTime"]["nominalEndTime"] == "2013-08-01T00:00:00.000000Z"
    assert facets["mosaic_step"]["partition"] == "2013-07"
    (read,), (written,) = complete["inputs"], complete["outputs"]
    assert (read["namespace"], read["name"]) == ("file", "/lake/raw/flights")
    assert read["facets"]["version"]["datasetVersion"] == "3"
    assert written["facets"]["schema"]["fields"][1] == {"name": "dep_delay", "type": "double", "fields": []}
    assert written["facets"]["mosaic_manifest"]["rowsBySplit"] == {"train": 3}
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 99
    source = {"namespace": "file", "name": "/lake/raw/flights", "field": "dep_delay", "transformations": []}
    lineage = written["facets"]["columnLineage"]["fields"]
    assert lineage == {"delay": {"inputFields": [source]}, "one": {"inputFields": []}}
    assert check_complete["job"]["name"] == "tables/flights.checks"
    assert check_complete["run"]["facets"]["parent"]["run"]["runId"] == identity.run_id
    outcomes = check_complete["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert [(o["assertion"], o["success"], o["severity"], o.get("column")) for o in outcomes] == [
        ("on_time", True, "warn", None),
        ("known", False, "error", "tailnum"),
    ]


def test_events_tell_failures_without_secrets(
    outbox: Outbox, story: SimpleNamespace, validate: Validate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAREHOUSE_PASSWORD", "correct-horse")

    def fail(error: BaseException) -> None:
        with step(story.identity("a/b"), outbox) as said:
            said.reads(DatasetUse("s3://bucket", "x", uri="s3://user:planted@bucket/x?signature=planted"))
            raise error

    with pytest.raises(ValueError, match="correct-horse"):
        fail(ValueError("no answer from postgresql://me:planted@db with correct-horse, Bearer planted.token"))
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
    assert "planted" not in "".join(event.body for event in outbox.events())
    _, failed, _, aborted = plain(outbox)
    validate(failed)
    validate(aborted)
    assert (failed["eventType"], aborted["eventType"]) == ("FAIL", "ABORT")
    message = failed["run"]["facets"]["errorMessage"]
    assert message["message"] == "ValueError: no answer from postgresql://***@db with ***, Bearer ***"
    assert "planted" not in json.dumps(failed)
    assert "correct-horse" not in json.dumps(failed)
    assert "test_events.py" in message["stackTrace"]


@pytest.mark.parametrize("name", sorted(DATASET_FACETS | RUN_FACETS))
def test_every_facet_is_valid(name: str, story: SimpleNamespace, validate: Validate) -> None:
    of_run = name in RUN_FACETS
    use = DatasetUse("file", "/x", facets={} if of_run else {name: SAMPLES[name]})
    record = StepRecord(story.identity("a/b"), outputs=[use], facets={name: SAMPLES[name]} if of_run else {})
    moment = load(dump(StepEvent("COMPLETE", story.now, record)))
    (event,) = [json.loads(text) for text in encode(dump(moment))]
    validate(event)
    facet = (event["run"] if of_run else event["outputs"][0])["facets"][name]
    assert "NaN" not in json.dumps(facet)
    assert {key for key in facet if not key.startswith("_")} >= {k for k, v in SAMPLES[name].items() if v is not None}


def test_every_facet_class_has_its_schema() -> None:
    classes = [kind for kind in (DATASET_FACETS | RUN_FACETS).values() if kind.__name__.startswith("Mosaic")]
    assert sorted(file.stem for file in SCHEMAS.glob("*.json")) == sorted(kind.__name__ for kind in classes)
    for kind in classes:
        body = json.loads((SCHEMAS / f"{kind.__name__}.json").read_text())["$defs"][kind.__name__]["allOf"][1]
        own = [field for field in attr.fields(kind) if not field.name.startswith("_")]
        hints = get_type_hints(kind)
        optional = {field.name for field in own if type(None) in get_args(hints[field.name])}
        assert {field.name for field in own} == set(body["properties"]), kind.__name__
        assert {field.name for field in own} - optional == set(body["required"]), kind.__name__


def test_make_facet_refuses() -> None:
    with pytest.raises(
        UnknownNameError, match=r"lineage facet 'mosaic_modell' is not declared\. Did you mean 'mosaic_model'"
    ):
        make_facet("mosaic_modell", {}, DATASET_FACETS)
    with pytest.raises(UserError, match="facet mosaic_asset: The values do not fit"):
        make_facet("mosaic_asset", {"key": "x"}, DATASET_FACETS)


def test_run_id_is_stable_and_distinct() -> None:
    one = StepIdentity("run", "a/b", "2013-07", None, None, "v")
    assert one.run_id == StepIdentity("run", "a/b", "2013-07", None, None, "other").run_id
    others = [("run2", "a/b", "2013-07"), ("run", "a/c", "2013-07"), ("run", "a/b", None), ("run", "a/b", "2013-08")]
    ids = {one.run_id, one.checks_run_id, *(StepIdentity(*other, None, None, "v").run_id for other in others)}
    assert len(ids) == 6


def test_load_refuses_another_format() -> None:
    with pytest.raises(UserError, match="A lineage record has format 99, this version reads 1"):
        load('{"format": 99}')


text = st.text(max_size=12)
uses = st.builds(
    DatasetUse,
    text,
    text,
    st.none() | text,
    st.lists(st.tuples(text, text), max_size=3),
    text,
    st.none() | st.integers(0),
)
columns = st.dictionaries(text, st.lists(st.tuples(text, text, text), max_size=2), max_size=3)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60, deadline=None)
@given(
    st.lists(uses, max_size=3), st.lists(uses, max_size=2), columns, st.lists(st.builds(Assertion, text, st.booleans()))
)
def test_stored_form_keeps_everything(
    validate: Validate,
    inputs: list[DatasetUse],
    outputs: list[DatasetUse],
    column_sources: dict[str, list[tuple[str, str, str]]],
    assertions: list[Assertion],
) -> None:
    identity = StepIdentity("r", "a/b", None, datetime(2013, 1, 1, tzinfo=UTC), None, "v")
    record = StepRecord(identity, inputs, outputs, {("file", "/x"): column_sources}, assertions)
    moment = StepEvent("COMPLETE", datetime(2013, 1, 1, 5, tzinfo=UTC), record)
    assert load(dump(moment)) == moment
    assert len(events_of(moment)) == (3 if assertions and outputs else 1)
