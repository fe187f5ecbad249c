"""Leak monitors as functions: planted leaks are caught, clean sets of scikit-learn and real flights raise none."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn import datasets as sklearn_datasets

from mosaic_assets.datasets.build import DatasetPlan
from mosaic_assets.datasets.late_knowledge import from_the_outcome, unknown_values
from mosaic_assets.datasets.leakage import LEAK_CHECKS, LeakCase, LeakRules, leak_outcomes
from mosaic_assets.datasets.request_log import newest_requests
from mosaic_assets.datasets.serving_skew import batch_dependent, request_distance
from mosaic_assets.datasets.shared_rows import twins
from mosaic_assets.exploration.feature_strength import feature_strengths, label_codes
from mosaic_assets.features.historical import get_historical_features
from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, FeatureView, Field
from mosaic_resources.delta.commit import Commit

NOTHING = FeatureService("none", ())
AIRCRAFT = FeatureView(
    "aircraft", (Entity("aircraft", ("tailnum",)),), (Field("arr_delay", "float64"), Field("dep_delay", "float64")),
    "features/aircraft",
)  # fmt: skip
SERVICE = FeatureService.of("delays", [AIRCRAFT], [FeatureRef.parse("aircraft:*")])


def bundle(data, target, names):
    """Returns a case over a set of scikit-learn's, split at random."""
    rng = np.random.default_rng(0)
    moment = pa.array([0] * len(target), pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    columns = {str(name).replace(" ", "_"): data[:, number] for number, name in enumerate(names)}
    rows = pa.table(
        {"id": np.arange(len(target)), **columns, "at": moment, "label": target,
         "split": rng.choice(["train", "validation", "test"], len(target), p=[0.6, 0.2, 0.2])}
    )  # fmt: skip
    plan = DatasetPlan("d", NOTHING, ("id",), "at", "label", "at", tuple(columns))
    return LeakCase(
        plan, dict.fromkeys(columns, "float64"), rows, [n for n in rows.column_names if n != "split"], lambda v: None
    )


def cancer():
    return bundle(*(sklearn_datasets.load_breast_cancer()[part] for part in ("data", "target", "feature_names")))


def digits(target=None):
    loaded = sklearn_datasets.load_digits()
    return bundle(loaded["data"], loaded["target"] if target is None else (loaded["target"] == target).astype(int),
                  loaded["feature_names"])  # fmt: skip


def wine():
    return bundle(*(sklearn_datasets.load_wine()[part] for part in ("data", "target", "feature_names")))


def diabetes():
    return bundle(*(sklearn_datasets.load_diabetes()[part] for part in ("data", "target", "feature_names")))


CLEAN = {"cancer": cancer, "digits": digits, "wine": wine, "diabetes": diabetes,
         **{f"digit_{number}": lambda number=number: digits(number) for number in range(10)}}  # fmt: skip


def problems(case, check, rules=None):
    (outcome,) = leak_outcomes(case, replace(rules or LeakRules(), checks=(check,)))
    return " ".join(outcome.problems)


def with_column(case, name, values):
    """Returns the case with another feature that a request holds."""
    place = case.rows.column_names.index("split")
    rows = case.rows.add_column(place, name, pa.array(values))
    kind = "string" if pa.types.is_string(rows.schema.field(name).type) else "float64"
    return replace(case, rows=rows, request={**case.request, name: kind}, entity_columns=[*case.entity_columns, name])


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_set_raises_nothing(name):
    outcomes = leak_outcomes(CLEAN[name](), LeakRules())
    assert [outcome.check for outcome in outcomes] == list(LEAK_CHECKS)
    assert [text for outcome in outcomes for text in outcome.problems] == []
    assert outcomes[0].figures["measure"] == ("auc" if name.startswith(("cancer", "digit_")) else "information")


@pytest.mark.parametrize("name", ["cancer", "digits", "wine", "diabetes", "digit_3"])
@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_a_copy_of_the_label_is_caught_also_as_text_and_with_values_missing(name, as_text, missing):
    case = CLEAN[name]()
    rng = np.random.default_rng(1)
    label = case.rows["label"].to_numpy()
    if as_text and name == "diabetes":
        label = label_codes(case.rows["label"])  # a text of each value of its own says nothing of the others
    noise = rng.normal(0, 0.001, len(label)) if not as_text else np.zeros(len(label))
    values = [None if rng.random() < missing and value == label.min() else f"v{value}" if as_text else value
              for value, gone in zip(label + noise if not as_text else label, label, strict=True)]  # fmt: skip
    found = problems(with_column(case, "copy", values), "label_leak")
    assert found.startswith("'copy' alone predicts 'label'")
    assert found.count("alone predicts") == 1


def test_that_a_value_is_missing_can_be_the_leak():
    case = cancer()
    known = [None if value else 7.0 for value in case.rows["label"].to_pylist()]
    assert "'known' alone predicts 'label' with AUC 1.000" in problems(with_column(case, "known", known), "label_leak")


def test_a_key_that_is_another_in_each_row_is_no_leak_and_few_rows_are_not_judged():
    case = cancer()
    keyed = with_column(case, "key", [f"k{row}" for row in range(case.rows.num_rows)])
    assert problems(keyed, "label_leak") == ""
    few = replace(case, rows=case.rows.slice(0, 30))
    assert leak_outcomes(few, LeakRules())[0].figures == {"rows": 30, "judged": False}
    assert feature_strengths(pa.table({"x": [[1]] * 90, "y": [0, 1] * 45}), ["x"], "y", np.arange(90)) == ("auc", {})


def test_strength_does_not_depend_on_the_order_of_rows():
    case = cancer()
    mixed = replace(case, rows=case.rows.take(pa.array(np.random.default_rng(4).permutation(case.rows.num_rows))))
    assert leak_outcomes(mixed, LeakRules()) == leak_outcomes(case, LeakRules())


@pytest.mark.parametrize("name", ["cancer", "digits", "wine"])
def test_copies_in_another_split_are_caught_at_the_share_that_is_declared(name):
    case = CLEAN[name]()
    held = case.rows.filter(pa.compute.equal(case.rows["split"], "test"))
    copied = held.slice(0, max(3, held.num_rows // 20))
    copied = copied.set_column(0, "id", pa.array(np.arange(copied.num_rows) + 10_000))
    copied = copied.set_column(copied.column_names.index("split"), "split", pa.array(["train"] * copied.num_rows))
    doubled = replace(case, rows=pa.concat_tables([case.rows, copied]))
    assert f"{copied.num_rows} of {held.num_rows} rows of 'test' equal one of an earlier split" in problems(
        doubled, "shared_rows"
    )
    assert problems(doubled, "shared_rows", LeakRules(max_shared_rows=0.2)) == ""


def test_rows_of_few_values_are_equal_by_chance():
    rng = np.random.default_rng(2)
    rows = pa.table({**{f"c{n}": rng.choice(["a", "b", "c", None], 2000) for n in range(4)},
                     "split": rng.choice(["train", "test"], 2000)})  # fmt: skip
    assert not twins(rows, ["c0", "c1", "c2", "c3"]).any()
    assert not twins(rows.slice(0, 0), ["c0"]).any()
    assert not twins(rows, []).any()


def view_rows(flown):
    rows = flown.select(["tailnum", "departed_at", "known_ts", "arr_delay", "dep_delay"])
    return rows.rename_columns(["tailnum", "event_ts", "known_ts", "arr_delay", "dep_delay"])


def asked(flown):
    moment = pa.compute.cast(pa.compute.subtract(pa.compute.cast(flown["sched_dep"], pa.int64()), 7_200_000_000),
                             pa.timestamp("us", tz="UTC"))  # fmt: skip
    return flown.select(["flight_id", "tailnum"]).append_column("asked_at", moment)


def test_values_that_were_not_known_yet_are_found_whatever_joined_them(flown):
    entity_df, events = asked(flown), view_rows(flown)
    honest = get_historical_features(entity_df, SERVICE, lambda _: events, "asked_at")
    assert list(unknown_values(honest, SERVICE, lambda _: events, "asked_at")) == []
    # pandas' own join by time: the last event before the row's time, whether or not anybody knew of it.
    import pandas as pd

    naive = pd.merge_asof(
        entity_df.to_pandas().sort_values("asked_at"), events.to_pandas().sort_values("event_ts"),
        left_on="asked_at", right_on="event_ts", by="tailnum",
    )  # fmt: skip
    named = {"arr_delay": "aircraft__arr_delay", "dep_delay": "aircraft__dep_delay"}
    leaky = pa.Table.from_pandas(naive.rename(columns=named), preserve_index=False)
    leaky = leaky.set_column(
        leaky.column_names.index("asked_at"), "asked_at", leaky["asked_at"].cast(pa.timestamp("us", tz="UTC"))
    )
    (found,) = unknown_values(leaky, SERVICE, lambda _: events, "asked_at")
    assert "rows hold values of view 'aircraft' that became known after the row's time, up to" in found
    foreign = honest.set_column(1, "tailnum", pa.array(["N-other"] * honest.num_rows))
    (found,) = unknown_values(foreign, SERVICE, lambda _: events, "asked_at")
    assert "that its key never had" in found
    (found,) = unknown_values(honest, SERVICE, lambda _: events.slice(0, 0), "asked_at")
    assert "that its key never had" in found
    assert list(unknown_values(honest, SERVICE, lambda _: events.slice(0, 0), "asked_at", ahead=SERVICE.columns)) == []


def test_what_the_outcomes_table_supplies_is_known_with_the_label():
    lineage = {
        "at": [("tables/flights", "sched_dep")],
        "known": [("tables/outcomes", "known_ts")],
        "delay": [("tables/outcomes", "dep_delay"), ("tables/flights", "x")],
        "origin": [("tables/flights", "o")],
    }
    (found,) = from_the_outcome(["origin", "delay"], lineage, "at", "known")
    assert "request column 'delay' comes from tables/outcomes" in found
    assert list(from_the_outcome(["delay"], None, "at", "known")) == []
    one_table = {name: [("tables/flights", "x")] for name in lineage}
    assert list(from_the_outcome(["delay", "origin"], one_table, "at", "known")) == []


def logged(lake, rows, day="2013-04-01", status=200):
    bodies = [json.dumps(row, default=str) for row in rows]
    return lake.write(
        "predictions/requests",
        pa.table({"request": bodies, "timestamp_ms": list(range(len(bodies))), "status_code": [status] * len(bodies),
                  "date": [day] * len(bodies)}),
        Commit(f"r{day}{status}"), mode="append", partition_by=("date",),
    )  # fmt: skip


def test_requests_are_compared_with_training_once_there_are_enough(lake, flown):
    rows = flown.append_column("split", flown["part"]).append_column("at", flown["sched_dep"])
    request = {"origin": "string", "carrier": "string", "dep_delay": "float64"}
    plan = DatasetPlan("d", NOTHING, ("flight_id",), "at", "late", "known_ts", tuple(request))
    case = LeakCase(plan, request, rows, rows.column_names, lambda view: None)
    assert newest_requests(lake, None) is None
    assert newest_requests(lake, "predictions/requests") is None
    real = flown.select(list(request)).slice(2000, 600).to_pylist()
    logged(lake, real)
    logged(lake, [{"origin": "nobody"}] * 500, status=400)
    same = replace(case, requests=newest_requests(lake, "predictions/requests"))
    assert len(same.requests) == 600
    assert problems(same, "serving_skew") == ""
    # From April on a new client leaves the carrier out, and sends delays in seconds.
    logged(lake, [{**row, "carrier": None, "dep_delay": row["dep_delay"] * 60} for row in real], "2013-04-02")
    skewed = replace(case, requests=newest_requests(lake, "predictions/requests", max_rows=500))
    assert len(skewed.requests) == 500
    found = problems(skewed, "serving_skew")
    assert "'carrier' is distributed otherwise in 500 logged requests than in training: distance 1.0" in found
    assert "'dep_delay' is distributed otherwise" in found
    assert "origin" not in found
    assert problems(replace(skewed, requests=skewed.requests[:100]), "serving_skew") == ""
    assert problems(skewed, "serving_skew", LeakRules(max_request_distance=None)) == ""


def test_distance_of_requests_is_a_share_of_rows():
    column = pa.chunked_array([[1.0, 2.0, 3.0, None]])
    assert request_distance(column, [1.0, 2.0, 3.0, None]) == 0.0
    assert request_distance(column, [None] * 4) == pytest.approx(0.75)
    assert request_distance(pa.chunked_array([[None, None]], pa.float64()), [1.0]) == 1.0
    assert request_distance(pa.chunked_array([[True, False]]), [True, False]) == 0.0
    assert request_distance(pa.chunked_array([["a", None]]), ["z", None]) == 0.5
    assert request_distance(pa.chunked_array([[0]], pa.timestamp("us", tz="UTC")), [0]) is None


def test_an_on_demand_function_that_fails_on_one_row_or_reads_the_clock_is_skew():
    at, when_ = pa.array([0, 0]).cast(pa.timestamp("us", tz="UTC")), pa.array([None, 5]).cast(pa.timestamp("us"))
    rows = pa.table({"id": [1, 2], "at": at, "x": [1.0, 2.0], "y": [2.0, 4.0], "when": when_})
    plan = DatasetPlan("d", NOTHING, ("id",), "at", "late", "at", ("x",))

    def of(function):
        return list(batch_dependent(replace(plan, on_demand=function), rows, ["y", "when"], [1, 0]))

    right = [None, 5]

    def when(inputs):
        return np.array([right[int(x) - 1] for x in inputs["x"]], "datetime64[us]")

    assert of(lambda inputs: {"y": inputs["x"] * 2, "when": when(inputs)}) == []
    (found,) = of(lambda inputs: {"y": inputs["x"] / inputs["x"].max(), "when": when(inputs)})
    assert "'y' differs in 2 of 2 rows when the on-demand function sees one row at a time" in found
    (found,) = of(lambda inputs: {"y": inputs["x"][:2] + inputs["x"][1]})
    assert "The on-demand function fails on one row alone" in found
    assert len(of(lambda inputs: {"when": when(inputs)})) == 1
    assert list(batch_dependent(plan, rows, ["y"], [0])) == []
