"""Whether a challenger replaces the champion: decided on labels that neither has learnt from, with reasons."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from mosaic_assets.models.gates import ValidationThreshold, judge, judge_change
from mosaic_assets.monitors.quality import brier_score, log_loss
from mosaic_assets.monitors.ranking import Bools, Floats, auc_difference
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["Decision", "Outcome", "clean_window", "decide"]

Outcome = Literal["promote", "keep", "not_decided"]


@dataclass(frozen=True)
class Decision:
    """What becomes of the challenger, and why.

    Args:
        verdict: ``not_decided`` waits for labels; ``keep`` is final for this challenger and window.
        reasons: In words, at least one.
        figures: What was measured; empty where nothing could be.
    """

    verdict: Outcome
    reasons: tuple[str, ...]
    figures: Mapping[str, float] = field(default_factory=dict)


def clean_window(window: tuple[datetime, datetime], *last_labels_utc: datetime) -> tuple[datetime, datetime]:
    """Returns the part of a window that no model has seen labels of; its end stays, so it may be empty."""
    start = max(window[0], *last_labels_utc)
    return start, max(window[1], start)


def decide(
    champion: Floats,
    challenger: Floats,
    labels: Bools,
    *,
    window: tuple[datetime, datetime],
    champion_last_label_utc: datetime,
    challenger_last_label_utc: datetime,
    min_labelled_rows: int,
    gates: Mapping[str, ValidationThreshold],
    groups: npt.NDArray[np.generic] | None = None,
    confidence: float = 0.95,
) -> Decision:
    """Returns whether the challenger replaces the champion, judged on rows that neither has learnt from.

    It is promoted only where its AUC is higher beyond chance (the interval of the difference lies above 0) and every
    gate is passed. Too few labels, or a window that reaches into what was fitted or tuned on, decide nothing.

    Args:
        champion: (rows,) probabilities of the champion, on labelled rows of the window.
        challenger: (rows,) probabilities of the challenger on the same rows.
        labels: (rows,) bool.
        window: Start and end of the rows, UTC.
        champion_last_label_utc: Time of the last labelled row that the champion was fitted or tuned on.
        challenger_last_label_utc: The same of the challenger.
        min_labelled_rows: Fewer are not enough.
        gates: ``validation_thresholds``: metric (``roc_auc``, ``log_loss``, ``brier_score``) → demand.
        groups: (rows,) what belongs together, for instance the day; see ``auc_difference``.
        confidence: Of the interval of the AUC's difference.

    Raises:
        UserError: The two did not score the same rows, or a gate names no metric that is measured here.
    """
    if not len(champion) == len(challenger) == len(labels):
        counts = f"{len(champion)}, {len(challenger)} and {len(labels)} rows"
        raise UserError(f"Champion, challenger and labels have {counts}.", do="Score the same rows with both.")
    barrier = _barriers(window, champion_last_label_utc, challenger_last_label_utc, len(labels), min_labelled_rows)
    if barrier:
        return Decision("not_decided", barrier)
    area = auc_difference(labels, champion, challenger, groups, confidence)
    if area is None:
        return Decision("not_decided", ("all known labels are of one class, or of one group",))
    old = {
        "roc_auc": area.champion,
        "log_loss": log_loss(labels, champion),
        "brier_score": brier_score(labels, champion),
    }
    new = {
        "roc_auc": area.challenger,
        "log_loss": log_loss(labels, challenger),
        "brier_score": brier_score(labels, challenger),
    }
    for name in gates:
        if name not in old:
            raise UnknownNameError("metric", name, old, "validation_thresholds")
    figures = {f"champion_{name}": value for name, value in old.items()}
    figures |= {f"challenger_{name}": value for name, value in new.items()}
    figures |= {"auc_difference": area.difference, "auc_difference_low": area.low, "auc_difference_high": area.high}
    figures["num_labelled"] = float(len(labels))
    span = f"{area.low:+.4f} to {area.high:+.4f}"
    seen = f"AUC {area.champion:.4f} → {area.challenger:.4f} ({span}) on {len(labels)} rows"
    refusals = [] if area.low > 0 else ["the difference in AUC may be chance: its interval holds 0 or less"]
    for verdict in (judge(gates, new), judge_change(gates, new, old)):
        refusals += [reason.text for reason in verdict.reasons if not reason.passed]
    return Decision("keep" if refusals else "promote", (*refusals, seen), figures)


def _barriers(
    window: tuple[datetime, datetime], champion: datetime, challenger: datetime, num_rows: int, least: int
) -> tuple[str, ...]:
    found = [
        f"the window begins {window[0]:%Y-%m-%d %H:%M}, before the last label of the {who} ({last:%Y-%m-%d %H:%M})"
        for who, last in (("champion", champion), ("challenger", challenger))
        if window[0] < last
    ]
    if num_rows < least:
        found.append(f"{num_rows} labelled rows, at least {least} are needed")
    return tuple(found)
