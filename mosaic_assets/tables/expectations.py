"""Expectations: what each row must satisfy, and what happens to those that do not."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_resources.errors import UserError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["ACTIONS", "Rule", "Sifted", "mark", "rules_of", "sift"]

Action = Literal["expect", "expect_or_drop", "expect_or_quarantine", "expect_or_fail"]
ACTIONS: tuple[Action, ...] = ("expect", "expect_or_drop", "expect_or_quarantine", "expect_or_fail")
PREFIX = "__mosaic_rule_"


@dataclass(frozen=True)
class Rule:
    """One expectation.

    Args:
        name: Name of the check.
        condition: SQL that is true for a good row; NULL counts as a violation.
        action: What happens to a row that violates it.
    """

    name: str
    condition: str
    action: Action


@dataclass(frozen=True)
class Sifted:
    """Rows sorted by the expectations.

    Args:
        good: Rows to publish.
        quarantine: Rows held back, with ``_rules`` (JSON list of rule names).
        violations: Rule name → number of rows that violate it.
    """

    good: pa.Table
    quarantine: pa.Table
    violations: Mapping[str, int]


def rules_of(expectations: Mapping[str, Mapping[str, str]], where: str) -> list[Rule]:
    """Returns the rules of an ``expectations`` block.

    Raises:
        UserError: An action is unknown, or a name is used twice.
    """
    rules: list[Rule] = []
    for action, named in expectations.items():
        if action not in ACTIONS:
            raise UserError(f"Expectation kind '{action}' is unknown.", where, f"Known: {', '.join(ACTIONS)}.")
        rules += [Rule(name, condition, cast(Action, action)) for name, condition in named.items()]
    names = [rule.name for rule in rules]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"Expectation '{twice[0]}' is declared twice.", where)
    return rules


def mark(frame: "DataFrame", rules: Sequence[Rule]) -> "DataFrame":
    """Returns the frame with one boolean column for each rule: whether the row satisfies it."""
    marks = [f"coalesce(cast(({rule.condition}) as boolean), false) as {PREFIX}{i}" for i, rule in enumerate(rules)]
    return frame.selectExpr("*", *marks) if marks else frame


def sift(marked: pa.Table, rules: Sequence[Rule], where: str) -> Sifted:
    """Returns the rows sorted by what the rules say.

    Args:
        marked: Rows with the columns that ``mark`` added.
        rules: The rules, in the same order.
        where: Asset for the message.

    Raises:
        UserError: A row violates an ``expect_or_fail`` rule; nothing may be published.
    """
    marks = {rule: marked[f"{PREFIX}{i}"] for i, rule in enumerate(rules)}
    rows = marked.select([name for name in marked.column_names if not name.startswith(PREFIX)])
    violations = {rule.name: rows.num_rows - int(pc.sum(ok).as_py() or 0) for rule, ok in marks.items()}
    failed = [rule for rule in rules if rule.action == "expect_or_fail" and violations[rule.name]]
    if failed:
        rule = failed[0]
        examples = rows.filter(pc.invert(marks[rule])).slice(0, 5).to_pylist()
        raise UserError(
            f"Expectation '{rule.name}' ({rule.condition}) fails for {violations[rule.name]} of {rows.num_rows} rows, "
            f"for instance {examples[0]}. Nothing was published.",
            where,
        )
    held = _any_violated(rows.num_rows, [marks[rule] for rule in rules if rule.action == "expect_or_quarantine"])
    dropped = _any_violated(rows.num_rows, [marks[rule] for rule in rules if rule.action == "expect_or_drop"])
    good = rows.filter(pc.invert(pc.or_(held, dropped)))
    reasons = _reasons(marks, held)
    quarantine = rows.filter(held).append_column("_rules", reasons)
    return Sifted(good, quarantine, violations)


def _any_violated(num_rows: int, satisfied: Sequence[pa.ChunkedArray]) -> pa.Array:
    """Returns (num_rows,) bool: whether at least one of the rules is violated."""
    violated = pa.array([False] * num_rows, pa.bool_())
    for ok in satisfied:
        violated = pc.or_(violated, pc.invert(ok.combine_chunks()))
    return violated


def _reasons(marks: Mapping[Rule, pa.ChunkedArray], held: pa.Array) -> pa.Array:
    quarantining = {
        rule: ok.filter(held).to_pylist() for rule, ok in marks.items() if rule.action == "expect_or_quarantine"
    }
    num_held = int(pc.sum(held).as_py() or 0)
    texts = [json.dumps([rule.name for rule, ok in quarantining.items() if not ok[row]]) for row in range(num_held)]
    return pa.array(texts, pa.string())
