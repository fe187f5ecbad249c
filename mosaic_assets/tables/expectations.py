"""Expectations: what each row must satisfy, and what happens to those that do not."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc

from mosaic_resources.errors import UserError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = [
    "ACTION",
    "ACTIONS",
    "CONDITION",
    "PARTITION_BY",
    "QUARANTINED_SHARE",
    "Action",
    "Found",
    "Rule",
    "Sifted",
    "mark",
    "rules_of",
    "sift",
]

Action = Literal["expect", "expect_or_drop", "expect_or_quarantine", "expect_or_fail"]
ACTIONS: tuple[Action, ...] = ("expect", "expect_or_drop", "expect_or_quarantine", "expect_or_fail")
PREFIX = "__mosaic_rule_"
QUARANTINED_SHARE = "quarantined_share"
# What a declared check says of its rule.
CONDITION, ACTION, PARTITION_BY = "mosaic/condition", "mosaic/action", "mosaic/partition_by"


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
class Found:
    """What the rules found in one partition.

    Args:
        partition: Its key; None: the rows have no partitions.
        num_rows: Rows that were looked at.
        num_held: Rows that belong into quarantine.
        violations: Rule name → number of rows that violate it.
        blocked_by: Blocking check that failed: nothing of the partition may be published.
        reason: What that check found.
    """

    partition: str | None
    num_rows: int
    num_held: int
    violations: Mapping[str, int]
    blocked_by: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Sifted:
    """Rows sorted by the expectations; of a partition that is blocked there are none.

    Args:
        good: Rows to publish.
        quarantine: Rows held back, with ``_rules`` (JSON list of rule names).
        found: What was found, for each partition.
    """

    good: pa.Table
    quarantine: pa.Table
    found: Sequence[Found]

    @property
    def violations(self) -> Mapping[str, int]:
        """Rule name → number of rows that violate it."""
        names = {name for one in self.found for name in one.violations}
        return {name: sum(one.violations[name] for one in self.found) for name in names}


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
    names = [rule.name for rule in rules] + [QUARANTINED_SHARE]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"Expectation '{twice[0]}' is declared twice.", where)
    return rules


def mark(frame: "DataFrame", rules: Sequence[Rule]) -> "DataFrame":
    """Returns the frame with one boolean column for each rule: whether the row satisfies it."""
    marks = [f"coalesce(cast(({rule.condition}) as boolean), false) as {PREFIX}{i}" for i, rule in enumerate(rules)]
    return frame.selectExpr("*", *marks) if marks else frame


def sift(
    marked: pa.Table,
    rules: Sequence[Rule],
    where: str,
    *,
    partition_by: str | None = None,
    partitions: Sequence[str] = (),
    max_quarantined_share: float | None = None,
) -> Sifted:
    """Returns the rows sorted by what the rules say, each partition on its own.

    Args:
        marked: Rows with the columns that ``mark`` added.
        rules: The rules, in the same order.
        where: Asset for the message.
        partition_by: Column that holds the partition's key.
        partitions: Keys of the step; none: all rows are one.
        max_quarantined_share: Share of a partition's rows that may be held back; more blocks the partition.

    Raises:
        UserError: A row lies in none of the step's partitions.
    """
    marks = {rule: marked[f"{PREFIX}{i}"].combine_chunks() for i, rule in enumerate(rules)}
    rows = marked.select([name for name in marked.column_names if not name.startswith(PREFIX)])
    held = _any_violated(rows.num_rows, [marks[rule] for rule in rules if rule.action == "expect_or_quarantine"])
    dropped = _any_violated(rows.num_rows, [marks[rule] for rule in rules if rule.action == "expect_or_drop"])
    found, blocked = [], pa.array([False] * rows.num_rows, pa.bool_())
    for partition, inside in _partitions(rows, partition_by, partitions, where):
        one = _find(partition, rows, marks, held, inside, max_quarantined_share)
        found.append(one)
        blocked = pc.or_(blocked, inside) if one.blocked_by else blocked
    open_rows = pc.invert(blocked)
    good = rows.filter(pc.and_(open_rows, pc.invert(pc.or_(held, dropped))))
    held = pc.and_(open_rows, held)
    quarantine = rows.filter(held).append_column("_rules", _reasons(marks, held))
    return Sifted(good, quarantine, found)


def _partitions(
    rows: pa.Table, partition_by: str | None, partitions: Sequence[str], where: str
) -> Iterator[tuple[str | None, pa.Array]]:
    """Yields each partition with (num_rows,) bool: whether a row is in it."""
    if not (partition_by and partitions):
        yield None, pa.array([True] * rows.num_rows, pa.bool_())
        return
    keys = pc.cast(rows[partition_by], pa.string()).combine_chunks()
    strange = [key for key in keys.unique().to_pylist() if key not in partitions]
    if strange:
        raise UserError(
            f"The transform made rows of partition '{strange[0]}', which this run does not make.", where,
            "Filter by :partition_key_start and :partition_key_end, or by the window.",
        )  # fmt: skip
    for partition in partitions:
        yield partition, pc.equal(keys, partition)


def _find(
    partition: str | None,
    rows: pa.Table,
    marks: Mapping[Rule, pa.Array],
    held: pa.Array,
    inside: pa.Array,
    limit: float | None,
) -> Found:
    """Returns what the rules say of the rows that are ``inside``."""
    wrong = {rule: pc.and_(inside, pc.invert(ok)) for rule, ok in marks.items()}
    violations = {rule.name: _count(bad) for rule, bad in wrong.items()}
    num_rows, num_held = _count(inside), _count(pc.and_(inside, held))
    told = Found(partition, num_rows, num_held, violations)
    of = f"of {num_rows} rows" + (f" of partition {partition}" if partition else "")
    for rule, bad in wrong.items():
        if rule.action == "expect_or_fail" and violations[rule.name]:
            example = rows.filter(bad).slice(0, 1).to_pylist()[0]
            reason = (
                f"Expectation '{rule.name}' ({rule.condition}) fails for {violations[rule.name]} {of}, "
                f"for instance {example}."
            )
            return replace(told, blocked_by=rule.name, reason=reason)
    if limit is not None and num_held > limit * num_rows:
        reason = f"{num_held} {of} belong into quarantine, more than the limit of {limit:.2%}."
        return replace(told, blocked_by=QUARANTINED_SHARE, reason=reason)
    return told


def _count(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _any_violated(num_rows: int, satisfied: Sequence[pa.Array]) -> pa.Array:
    """Returns (num_rows,) bool: whether at least one of the rules is violated."""
    violated = pa.array([False] * num_rows, pa.bool_())
    for ok in satisfied:
        violated = pc.or_(violated, pc.invert(ok))
    return violated


def _reasons(marks: Mapping[Rule, pa.Array], held: pa.Array) -> pa.Array:
    quarantining = {
        rule: ok.filter(held).to_pylist() for rule, ok in marks.items() if rule.action == "expect_or_quarantine"
    }
    num_held = _count(held)
    texts = [json.dumps([rule.name for rule, ok in quarantining.items() if not ok[row]]) for row in range(num_held)]
    return pa.array(texts, pa.string())
