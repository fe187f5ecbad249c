"""Leak monitors: what would make a model look better in training than behind the endpoint, found before it trains."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from mosaic_assets.datasets.build import DatasetPlan
from mosaic_assets.datasets.late_knowledge import (
    Lineage,
    early_labels,
    from_the_outcome,
    later_times,
    unknown_values,
)
from mosaic_assets.datasets.serving_skew import batch_dependent, not_online, request_distance, wrong_types
from mosaic_assets.datasets.shared_rows import divided_groups, shared_rows
from mosaic_assets.datasets.splits import FOLD_COLUMN, SPLIT_COLUMN
from mosaic_assets.exploration.feature_strength import feature_strengths
from mosaic_assets.features.views import FeatureView
from mosaic_assets.key_hash import key_hash

__all__ = ["LEAK_CHECKS", "LeakCase", "LeakOutcome", "LeakRules", "leak_outcomes"]

# Check → what holds where it passes.
LEAK_CHECKS = {
    "label_leak": "No feature alone predicts the label too well.",
    "late_knowledge": "Each row holds only what was known at its time.",
    "shared_rows": "No row and no group is in two splits.",
    "serving_skew": "A request can give the model what training gave it.",
}
MAX_ROWS = 50_000
MIN_REQUESTS = 200
NUM_STRONGEST = 5


@dataclass(frozen=True)
class LeakRules:
    """What is a leak.

    Args:
        checks: The monitors that run.
        max_feature_auc: Largest AUC of one feature, where the label has two values; None: any.
        max_feature_information: Largest share of the label's entropy that one feature explains, else; None: any.
        max_shared_rows: Share of a held-out split that may equal rows of an earlier one.
        known_ahead: Columns that are known before their time: a timetable.
        allow: Columns that the monitors pass over.
        max_request_distance: Largest distance of a column's distribution between training and requests; None: any.
    """

    checks: tuple[str, ...] = tuple(LEAK_CHECKS)
    max_feature_auc: float | None = 0.98
    max_feature_information: float | None = 0.8
    max_shared_rows: float = 0.01
    known_ahead: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    max_request_distance: float | None = 0.5


@dataclass(frozen=True)
class LeakCase:
    """A dataset to look at.

    Args:
        plan: What it is made of.
        request: Column that a request holds → its type.
        rows: Its rows.
        entity_columns: Columns of the entity table.
        read_view: Returns a view's rows at the version that was joined.
        group_by: Columns whose rows belong together.
        lineage: Column of the entity table → (table, column) pairs that it comes from; None: not known.
        requests: Logged requests as JSON texts, newest last; None: there are none.
    """

    plan: DatasetPlan
    request: Mapping[str, str]
    rows: pa.Table
    entity_columns: Sequence[str]
    read_view: Callable[[FeatureView], pa.Table]
    group_by: Sequence[str] = ()
    lineage: Lineage | None = None
    requests: Sequence[str] | None = None

    @property
    def computed(self) -> list[str]:
        """The on-demand features."""
        others = {*self.entity_columns, *self.plan.service.columns, SPLIT_COLUMN, FOLD_COLUMN}
        return [name for name in self.rows.column_names if name not in others]

    def features(self, allow: Sequence[str]) -> list[str]:
        """Returns the columns that a model may read: of the request, looked up, computed."""
        left_out = {*self.plan.entity_key, *allow}
        named = (*self.request, *self.plan.service.columns, *self.computed)
        return [name for name in dict.fromkeys(named) if name not in left_out]

    def hashes(self) -> "np.ndarray[Any, np.dtype[np.int64]]":
        """Returns (rows,) int64 of the keys: the same rows are looked at in every order."""
        return key_hash(self.rows, self.plan.entity_key, "leakage")


@dataclass(frozen=True)
class LeakOutcome:
    """What a monitor found.

    Args:
        check: Its name.
        problems: Sentences, each naming column, rows and what to do; none: it passes.
        figures: What it measured.
    """

    check: str
    problems: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


def leak_outcomes(case: LeakCase, rules: LeakRules) -> list[LeakOutcome]:
    """Returns what the declared monitors found, in order."""
    monitors = {
        "label_leak": _label_leak, "late_knowledge": _late_knowledge, "shared_rows": _shared_rows,
        "serving_skew": _serving_skew,
    }  # fmt: skip
    return [monitors[name](case, rules) for name in LEAK_CHECKS if name in rules.checks]


def _label_leak(case: LeakCase, rules: LeakRules) -> LeakOutcome:
    chosen = np.argsort(case.hashes())[:MAX_ROWS]
    rows = case.rows.take(pa.array(chosen))
    found = feature_strengths(rows, case.features(rules.allow), case.plan.label, case.hashes()[chosen])
    if found is None:
        return LeakOutcome("label_leak", figures={"rows": rows.num_rows, "judged": False})
    measure, strengths = found
    ranked = sorted(strengths.items(), key=lambda one: (-one[1], one[0]))
    limit = rules.max_feature_auc if measure == "auc" else rules.max_feature_information
    said = "AUC {:.3f}" if measure == "auc" else "{:.1%} of its entropy"
    problems = tuple(
        f"'{name}' alone predicts '{case.plan.label}' with {said.format(value)}, over the limit of {limit}: "
        "is it known before the label?"
        for name, value in ranked
        if limit is not None and value > limit
    )
    strongest = {name: round(value, 4) for name, value in ranked[:NUM_STRONGEST]}
    return LeakOutcome("label_leak", problems, {"measure": measure, "rows": rows.num_rows, "strongest": strongest})


def _late_knowledge(case: LeakCase, rules: LeakRules) -> LeakOutcome:
    plan, ahead = case.plan, {*rules.known_ahead, *rules.allow}
    made = [name for name in (*plan.service.columns, *case.computed) if name not in ahead]
    asked = [name for name in case.request if name not in ahead]
    problems = (
        *early_labels(case.rows, plan.timestamp_field, plan.label_known_field),
        *later_times(case.rows, made, plan.timestamp_field),
        *from_the_outcome(asked, case.lineage, plan.timestamp_field, plan.label_known_field),
        *unknown_values(case.rows, plan.service, case.read_view, plan.timestamp_field, rules.allow),
    )
    return LeakOutcome("late_knowledge", problems, {"rows": case.rows.num_rows, "views": len(plan.service.views)})


def _shared_rows(case: LeakCase, rules: LeakRules) -> LeakOutcome:
    shared, shares = shared_rows(case.rows, case.features(rules.allow), rules.max_shared_rows)
    return LeakOutcome("shared_rows", (*divided_groups(case.rows, case.group_by), *shared), {"shared": shares})


def _serving_skew(case: LeakCase, rules: LeakRules) -> LeakOutcome:
    asked = {name: kind for name, kind in case.request.items() if name not in rules.allow}
    computed = [name for name in case.computed if name not in rules.allow]
    problems = [
        *not_online(case.plan.service, rules.allow),
        *wrong_types(case.rows.schema, asked),
        *batch_dependent(case.plan, case.rows, computed, np.argsort(case.hashes()).tolist()),
    ]
    logged = [row for row in map(json.loads, case.requests or ()) if isinstance(row, dict)]
    figures: dict[str, Any] = {"requests": len(logged)}
    if len(logged) >= MIN_REQUESTS:
        distances = {name: request_distance(case.rows[name], [row.get(name) for row in logged]) for name in asked}
        figures["distance"] = {name: round(value, 4) for name, value in distances.items() if value is not None}
        for name, value in figures["distance"].items():
            if rules.max_request_distance is not None and value > rules.max_request_distance:
                problems.append(
                    f"'{name}' is distributed otherwise in {len(logged):,} logged requests than in training: distance "
                    f"{value}, over the limit of {rules.max_request_distance}."
                )
    return LeakOutcome("serving_skew", tuple(problems), figures)
