"""The dataset component from its YAML, on real flights: splits, folds, samples, and leaks planted one by one."""

import re
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster.components.core.component_tree import ComponentTreeException

from mosaic_assets.datasets.build import rebuild
from mosaic_assets.datasets.row_hash import row_hash
from mosaic_assets.orchestration.run import materialize
from mosaic_resources.errors import UserError

from .conftest import DATASET, FEATURES

WAYS = {
    "months": ["split: {validation_months: 1}"],
    "ends": ["split: {train: 2013-02-01, validation: 2013-03-01T00:00:00+00:00, test: 2013-03-15}", "n_splits: 3"],
    "time_shares": ["split: {train: 0.7, validation: 0.2, test: 0.1}", "time_col: sched_dep"],
    "random": ["split: {validation: 0.2, test: 0.1}", "seed: 5", "n_splits: 4"],
    "stratified": [
        "split: {validation: 0.2}",
        "stratify_by: [late, carrier]",
        "sample: {share: 0.5, stratify_by: [late]}",
    ],
    "grouped": ["split: {validation: 0.3}", "group_by: [tailnum]", "sample: {rows: 2000}"],
    "split_col": ["split_col: part"],
}


@pytest.fixture(scope="module")
def features_made(project):
    with project() as story:
        assert story.make("features/aircraft").success


@pytest.mark.parametrize("way", WAYS)
def test_each_split_is_clean_pinned_and_rebuilt(project, features_made, way):
    with project(*WAYS[way]) as story:
        result = story.make("datasets/delays")
        assert result.success
        checks = {one.check_name: one for one in result.get_asset_check_evaluations()}
        assert sorted(checks) == ["label_leak", "late_knowledge", "serving_skew", "shared_rows"]
        assert {name: one.description for name, one in checks.items() if not one.passed} == {}
        manifest = story.manifest
        rows = story.seams.lake.read("datasets/delays")
        assert manifest.failed_checks == ()
        assert row_hash(rows.select(manifest.columns), ["flight_id"]) == manifest.row_hash
        again = rebuild(manifest, story.seams.engine.session(), story.seams.lake)
        assert row_hash(again, ["flight_id"]) == manifest.row_hash
        assert manifest.num_rows["train"] > manifest.num_rows["validation"] > 0
        assert ("fold" in rows.column_names) == any("n_splits" in line for line in WAYS[way])
        assert (rows.num_rows == 2000) == (way == "grouped")


LEAK = """
select flight_id, sched_dep - interval '1' day as event_ts, FEATURE from tables.outcomes
"""
LEAKY_VIEW = """type: mosaic_assets.features.FeatureViewComponent
attributes:
  name: leak
  entities: [flight]
  sql: leak.sql
  known_delay: 0s
  online: ONLINE
  schema: {FEATURE: TYPE}
---
"""


def leaky(feature, kind="float64", online="true"):
    view = LEAKY_VIEW.replace("FEATURE", feature).replace("TYPE", kind).replace("ONLINE", online)
    return {
        "features": FEATURES.replace('["aircraft:*"]', '["aircraft:*", "leak:*"]').replace("---\n", f"---\n{view}", 1),
        "leak": LEAK.replace("FEATURE", feature),
    }


COPIED = """
with asked as (
  select f.flight_id, f.tailnum, f.origin, f.dest, f.carrier, f.sched_dep, f.part,
    f.sched_dep - interval '2' hour as asked_at, o.known_ts as label_known_ts, o.late
  from tables.flights f join tables.outcomes o on o.flight_id = f.flight_id
)
select * from asked
union all
select concat(flight_id, '_copy') as flight_id, tailnum, origin, dest, carrier, sched_dep, part, asked_at,
  label_known_ts, late from asked where pmod(xxhash64(flight_id), 10) = 0
"""
OTHER_ROWS = """
def features(inputs):
    since = inputs["sched_dep"] - inputs["sched_dep"].min()
    return {"hours_since_first": since.astype("timedelta64[h]").astype(float)}
"""
LATE_LABELS = """
select f.flight_id, f.tailnum, f.origin, f.dest, f.carrier, f.sched_dep, f.part,
  o.known_ts + interval '1' hour as asked_at, o.known_ts as label_known_ts, o.late
from tables.flights f join tables.outcomes o on o.flight_id = f.flight_id
"""
FROM_OUTCOMES = """
select f.flight_id, f.tailnum, f.origin, f.dest, f.carrier, f.sched_dep, o.dep_delay,
  f.sched_dep - interval '2' hour as asked_at, o.known_ts as label_known_ts, o.late
from tables.flights f join tables.outcomes o on o.flight_id = f.flight_id
"""
ASKS_DELAY = "request: {tailnum: string, origin: string, carrier: string, sched_dep: timestamp, dep_delay: float64}"
ASKS_NUMBER = "request: {tailnum: string, origin: string, dest: string, carrier: int64, sched_dep: timestamp}"
RANDOM = "split: {validation: 0.3}"
PLANTED = {
    "outcome_as_feature": ("label_leak", [], leaky("arr_delay"), "leak__arr_delay' alone predicts 'late' with AUC 1.0"),
    "category_as_feature": (
        "label_leak", [],
        {**leaky("hint", "string"), "leak": LEAK.replace("FEATURE", "if(late = 1, 'b', null) as hint")},
        "'leak__hint' alone predicts 'late' with AUC 1.000",
    ),
    "time_that_has_not_come": (
        "late_knowledge", [], leaky("departed_at", "timestamp"), "'leak__departed_at' lies after the row's time",
    ),
    "question_after_its_answer": ("late_knowledge", [], {"labels": LATE_LABELS}, "rows are asked at 'asked_at' after"),
    "request_from_the_outcome": (
        "late_knowledge", [ASKS_DELAY], {"labels": FROM_OUTCOMES}, "'dep_delay' comes from tables/outcomes",
    ),
    "copies": ("shared_rows", [RANDOM], {"labels": COPIED}, "rows of 'validation' equal one of an earlier split"),
    "divided_groups": (
        "shared_rows", ["split_col: part", "group_by: [tailnum]"], {}, "groups of tailnum have rows in more than one",
    ),
    "offline_view": (
        "serving_skew", [], leaky("dep_delay", online="false"), "online: false': no request can look up leak__dep",
    ),
    "other_type": ("serving_skew", [ASKS_NUMBER], {}, "A request holds 'carrier' as int64, training as string"),
    "looks_at_other_rows": (
        "serving_skew", [], {"on_demand": OTHER_ROWS}, "'hours_since_first' differs in 16 of 16 rows",
    ),
}  # fmt: skip


def test_a_monitor_that_only_warns_holds_nothing_back(project, features_made):
    with project("leakage: {blocking: false, max_feature_auc: 0.5, checks: [label_leak]}") as story:
        result = story.make("datasets/delays")
        assert result.success
        (check,) = result.get_asset_check_evaluations()
        assert (check.passed, check.severity.value, story.manifest.failed_checks) == (False, "WARN", ())
        assert check.metadata["measure"].value == "auc"


def test_a_column_that_is_allowed_or_known_ahead_is_no_leak(project, features_made):
    for fields, changed in (
        (["leakage: {allow: [leak__arr_delay]}"], leaky("arr_delay")),
        (["leakage: {max_feature_auc: null}"], leaky("arr_delay")),
        (["leakage: {known_ahead: [leak__departed_at]}"], leaky("departed_at", "timestamp")),
    ):
        with project(*fields, **changed) as story:
            assert story.make("features/leak", "datasets/delays").success


def test_an_unknown_monitor_and_a_contradiction_are_found_before_anything_runs(project):
    for fields, message in (
        (["leakage: {checks: [label_leaks]}"], "leak monitor 'label_leaks' is not declared. Did you mean 'label_leak'"),
        (["split: {train: 0.9, test: 0.3}"], "The shares {train: 0.9, test: 0.3} do not make 1"),
        (["sample: {}"], "A sample needs 'rows' or 'share'"),
    ):
        with pytest.raises(ComponentTreeException, match="DatasetComponent|defs.yaml") as raised, project(*fields):
            pass
        assert re.search(re.escape(message), str(raised.value.__cause__ or raised.value)), raised.value


def test_materialize_says_what_failed_and_what_to_do(project, features_made, tmp_path):
    with project("leakage: {max_feature_auc: 0.5, checks: [label_leak]}") as story:
        assets = [asset for asset in story.definitions.assets if isinstance(asset, dg.AssetsDefinition)]
        resource = dg.ResourceDefinition.hardcoded_resource(SimpleNamespace(seams=story.seams))
        defs = dg.Definitions(assets=assets, resources={"mosaic": resource})
        with pytest.raises(
            UserError, match="datasets/delays: The blocking check 'label_leak' failed: 'sched_dep'"
        ) as raised:
            materialize(defs, dg.DagsterInstance.ephemeral(), ["datasets/delays"])
        assert "is it known before the label? What stands on it is held back. Mend it, then run" in str(raised.value)
        assert "mosaic materialize datasets/delays" in str(raised.value)


@pytest.mark.parametrize("leak", PLANTED)
def test_a_planted_leak_fails_its_blocking_check_and_is_kept_in_the_manifest(project, features_made, leak):
    check, fields, changed, message = PLANTED[leak]
    replaced = [
        line for line in DATASET.splitlines() if not any(line.strip().startswith(f.split(":")[0] + ":") for f in fields)
    ]
    with project(*fields, dataset="\n".join(replaced) + "\n", **changed) as story:
        keys = ["features/leak", "datasets/delays"] if "leak" in changed else ["datasets/delays"]
        result = story.make(*keys)
        assert not result.success
        found = {one.check_name: one for one in result.get_asset_check_evaluations()}
        assert not found[check].passed
        assert re.search(message, found[check].description), found[check].description
        assert any(re.search(message, text) for text in story.manifest.failed_checks)
        (event,) = result.asset_materializations_for_node("datasets__delays")
        assert event.metadata["manifest_id"].value == story.manifest.id
