import json

import pyarrow as pa
import pytest

from mosaic_assets.tables.expectations import mark, rules_of, sift
from mosaic_resources.errors import UserError

ROWS = "select * from values (1, 'a'), (2, null), (3, 'c'), (-1, 'd'), (null, 'e') as t(n, s)"
EXPECTATIONS = {
    "expect": {"small": "n < 3"},
    "expect_or_drop": {"positive": "n > 0"},
    "expect_or_quarantine": {"named": "s is not null"},
}


def sifted(engine, expectations, query=ROWS, **how):
    rules = rules_of(expectations, "here")
    return sift(mark(engine.session().sql(query), rules).toArrow(), rules, "my/table", **how)


def test_each_row_goes_where_its_rules_send_it(engine):
    result = sifted(engine, EXPECTATIONS)
    assert result.good["n"].to_pylist() == [1, 3]
    assert result.quarantine.select(["n", "s"]).to_pylist() == [{"n": 2, "s": None}]
    assert json.loads(result.quarantine["_rules"][0].as_py()) == ["named"]
    # NULL is a violation: nobody knows that the row is good.
    assert result.violations == {"small": 2, "positive": 2, "named": 1}


def test_rows_held_and_dropped_and_good_are_all_rows(engine):
    result = sifted(engine, {"expect_or_quarantine": {"a": "n > 1", "b": "s <> 'c'"}})
    assert result.good.num_rows + result.quarantine.num_rows == 5
    reasons = dict(
        zip(result.quarantine["n"].to_pylist(), map(json.loads, result.quarantine["_rules"].to_pylist()), strict=True)
    )
    assert reasons == {1: ["a"], 2: ["b"], 3: ["b"], -1: ["a"], None: ["a"]}


def test_a_failing_rule_blocks_and_shows_an_example(engine):
    result = sifted(engine, {"expect_or_fail": {"positive": "n > 0"}})
    (found,) = result.found
    assert (found.blocked_by, found.partition, found.num_rows) == ("positive", None, 5)
    assert found.reason.startswith("Expectation 'positive' (n > 0) fails for 2 of 5 rows, for instance {'n': -1")
    assert (result.good.num_rows, result.quarantine.num_rows) == (0, 0)


def test_each_partition_is_judged_on_its_own(engine):
    result = sifted(
        engine, {"expect_or_fail": {"positive": "n > 0"}, "expect_or_quarantine": {"named": "s is not null"}},
        partition_by="s", partitions=["a", "c", "d", "e"], query=f"select * from ({ROWS}) where s is not null",
    )  # fmt: skip
    told = {found.partition: (found.blocked_by, found.num_rows, found.violations["positive"]) for found in result.found}
    assert told == {"a": (None, 1, 0), "c": (None, 1, 0), "d": ("positive", 1, 1), "e": ("positive", 1, 1)}
    assert result.good["s"].to_pylist() == ["a", "c"]
    assert "of partition d, for instance" in result.found[2].reason


def test_too_many_rows_for_the_quarantine_block_the_partition(engine):
    rules = {"expect_or_quarantine": {"named": "s is not null"}}
    assert sifted(engine, rules, max_quarantined_share=0.2).found[0].blocked_by is None
    (found,) = sifted(engine, rules, max_quarantined_share=0.19).found
    assert (found.blocked_by, found.num_held) == ("quarantined_share", 1)
    assert found.reason == "1 of 5 rows belong into quarantine, more than the limit of 19.00%."


def test_a_row_of_another_partition_is_refused(engine):
    with pytest.raises(UserError, match="made rows of partition 'c', which this run does not make"):
        sifted(engine, {}, partition_by="s", partitions=["a"], query=f"select * from ({ROWS}) where s in ('a', 'c')")


def test_without_rules_every_row_is_good(engine):
    assert sifted(engine, {}).good.num_rows == 5


def test_wrong_blocks_are_named():
    with pytest.raises(UserError, match="Expectation kind 'expect_or_cry' is unknown.*Known: expect, expect_or_drop"):
        rules_of({"expect_or_cry": {"a": "b"}}, "f.yaml:3")
    with pytest.raises(UserError, match="f.yaml:3: Expectation 'a' is declared twice"):
        rules_of({"expect": {"a": "b"}, "expect_or_drop": {"a": "c"}}, "f.yaml:3")
    with pytest.raises(UserError, match="'quarantined_share' is declared twice"):  # the name of the limit's check
        rules_of({"expect": {"quarantined_share": "b"}}, "f.yaml:3")


def test_empty_input_is_empty_everywhere(engine):
    rules = rules_of(EXPECTATIONS, "here")
    result = sift(mark(engine.session().sql(f"{ROWS} where false"), rules).toArrow(), rules, "t")
    assert (result.good.num_rows, result.quarantine.num_rows) == (0, 0)
    assert result.quarantine.schema.field("_rules").type == pa.string()
