"""The step that decides between champion and challenger on labels that neither has learnt from."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mosaic_assets.models.gates import ValidationThreshold
from mosaic_assets.models.learnt import learnt_until, manifest_of_version
from mosaic_assets.models.plots import as_markdown, calibration_plot, roc_plot
from mosaic_assets.monitors.declaration import Monitor
from mosaic_assets.monitors.incident_log import INCIDENTS, append_events
from mosaic_assets.monitors.incidents import keep
from mosaic_assets.monitors.promotion import Decision, clean_window, decide
from mosaic_assets.monitors.quality import LABEL, join_labels
from mosaic_assets.monitors.sources import decided
from mosaic_assets.work import Made, Markdown, Work
from mosaic_resources.errors import UserError
from mosaic_resources.mlflow.contract import CHALLENGER, CHAMPION, ModelVersion

__all__ = ["Contest", "decision_step"]

DECISIONS = pa.schema(
    [
        ("decided_at", pa.timestamp("us", tz="UTC")),
        ("registered_model_name", pa.string()),
        ("champion", pa.string()),
        ("challenger", pa.string()),
        ("verdict", pa.string()),
        ("reasons", pa.string()),
        ("figures", pa.string()),
        ("window_start", pa.timestamp("us", tz="UTC")),
        ("window_end", pa.timestamp("us", tz="UTC")),
        ("run_id", pa.string()),
    ]
)


@dataclass(frozen=True)
class Contest:
    """What a challenger must show.

    Args:
        min_labelled_rows: Fewer labels decide nothing.
        confidence: Of the interval of the difference in AUC.
        gates: Metric → gate.
    """

    min_labelled_rows: int
    confidence: float
    gates: Mapping[str, ValidationThreshold]


def decision_step(monitor: Monitor, contest: Contest, work: Work) -> Made:
    """Returns what was decided; a promotion moves the alias, and every decision is kept with its reasons.

    Raises:
        UserError: There is no champion, or the monitor does not name model, labels and predictions.
        AliasMovedError: Somebody else promoted in the meantime.
    """
    model_name, name = _model_name(monitor, work), monitor.key("decision")
    registry = work.seams.registry
    champion, challenger = registry.find(model_name, CHAMPION), registry.find(model_name, CHALLENGER)
    if champion is None:
        raise UserError(f"'{model_name}' has no champion.", work.asset, "Train a model that passes its gates first.")
    if challenger is None or challenger.version == champion.version:
        return Made(version=work.run_id, metadata={"verdict": "no challenger", "champion": champion.version})
    manifests = work.seams.settings.state / "manifests"
    last = {model.version: learnt_until(manifest_of_version(manifests, model)) for model in (champion, challenger)}
    end = work.window[1] if work.window else work.now_utc
    start, end = clean_window((work.window[0] if work.window else min(last.values()), end), *last.values())
    champion_scores, challenger_scores, labels, days = _same_rows(monitor, work, champion, challenger, (start, end))
    decision = decide(
        champion_scores,
        challenger_scores,
        labels,
        window=(start, end),
        champion_last_label_utc=last[champion.version],
        challenger_last_label_utc=last[challenger.version],
        min_labelled_rows=contest.min_labelled_rows,
        gates=contest.gates,
        groups=days,
        confidence=contest.confidence,
    )
    pictures = _pictures(work, champion, challenger, (champion_scores, challenger_scores, labels))
    if decision.verdict == "keep":
        _tell_incident(monitor, work, f"version {challenger.version} was not promoted: {decision.reasons[0]}")
    if decision.verdict != "not_decided":
        _carry_out(work, decision, champion, challenger)
    work.lineage.facet(
        "mosaic_promotion",
        registeredModelName=model_name,
        champion=champion.version,
        challenger=challenger.version,
        verdict=decision.verdict,
        reasons=list(decision.reasons),
    )
    row = _row(work, model_name, champion, challenger, decision, (start, end))
    version = work.seams.lake.write(name, row, work.commit(), mode="append")
    return Made(
        name, version, work.seams.lake.num_rows(name), DECISIONS, decided(monitor),
        preview=row.select(["decided_at", "verdict", "reasons"]),
        metadata={"verdict": decision.verdict, "reasons": list(decision.reasons), "champion": champion.version,
                  "challenger": challenger.version, **decision.figures, **pictures},
    )  # fmt: skip


def _model_name(monitor: Monitor, work: Work) -> str:
    needed = (
        "registered_model_name",
        "label_table_name",
        "label_col",
        "prediction_col",
        "model_id_col",
        "timestamp_col",
    )
    for field in needed:
        if not getattr(monitor, field):
            raise UserError(f"A decision needs '{field}'.", work.asset, "Name it in the monitor.")
    return str(monitor.registered_model_name)


def _same_rows(
    monitor: Monitor, work: Work, champion: ModelVersion, challenger: ModelVersion, window: tuple[datetime, datetime]
) -> tuple[Any, Any, Any, Any]:
    """Returns (rows,) scores of both, labels and days, for the labelled rows of the window that both scored."""
    assert monitor.timestamp_col
    assert monitor.label_table_name
    assert monitor.label_col
    time = pc.field(monitor.timestamp_col)
    inside = (time >= pa.scalar(window[0])) & (time < pa.scalar(window[1]))
    scored = work.read_table(monitor.table_name, filters=inside)
    wanted = [*monitor.entity_key, monitor.label_col, *([monitor.label_known_col] if monitor.label_known_col else [])]
    labels = work.read_table(monitor.label_table_name, columns=list(dict.fromkeys(wanted)))
    joined = join_labels(
        scored,
        labels,
        monitor.entity_key,
        label_col=monitor.label_col,
        known_col=monitor.label_known_col,
        now_utc=work.now_utc,
    )
    joined = joined.filter(pc.is_valid(joined[LABEL]))
    sides = []
    for number, model in enumerate((champion, challenger)):
        rows = joined.filter(pc.equal(pc.cast(joined[monitor.model_id_col], pa.string()), model.version))
        kept = rows.select([*monitor.entity_key, monitor.timestamp_col, LABEL, monitor.prediction_col])
        sides.append(kept.rename_columns([*monitor.entity_key, f"at_{number}", f"label_{number}", f"score_{number}"]))
    both = sides[0].join(sides[1], list(monitor.entity_key), join_type="inner")
    days = pc.cast(pc.floor_temporal(both["at_0"], unit="day"), pa.int64())
    return (
        both["score_0"].to_numpy(), both["score_1"].to_numpy(),
        both["label_0"].to_numpy(zero_copy_only=False).astype(bool), np.asarray(days),
    )  # fmt: skip


def _pictures(
    work: Work, champion: ModelVersion, challenger: ModelVersion, rows: tuple[Any, Any, Any]
) -> dict[str, Markdown]:
    """Returns ROC and calibration of both on the deciding rows, and keeps them with the challenger's run.

    A retraining is not measured when it is made, so these are the pictures of it.
    """
    champion_scores, challenger_scores, labels = rows
    if not len(labels):
        return {}
    truth = labels.astype(np.float64)
    sides = {
        f"champion (version {champion.version})": (truth, champion_scores),
        f"challenger (version {challenger.version})": (truth, challenger_scores),
    }
    drawn = {"roc": roc_plot(sides), "calibration": calibration_plot(sides)}
    work.seams.registry.log(challenger.run_id, files={f"plots/decision_{name}.png": png for name, png in drawn.items()})
    return {name: Markdown(as_markdown(png, name)) for name, png in drawn.items()}


def _tell_incident(monitor: Monitor, work: Work, note: str) -> None:
    """Marks the open incident as answered, before the alias moves: a step that dies between decides again."""
    commit = work.commit(f"{INCIDENTS}/{monitor.name}")
    append_events(work.seams.lake, monitor.name, lambda log: keep(log, monitor.incident, work.now_utc, note), commit)


def _carry_out(work: Work, decision: Decision, champion: ModelVersion, challenger: ModelVersion) -> None:
    registry, name = work.seams.registry, champion.name
    told = {
        "decision": decision.verdict,
        "decision_reasons": "; ".join(decision.reasons),
        "decided_at": work.now_utc.isoformat(),
    }
    registry.set_tags(name, challenger.version, told)
    if decision.verdict == "promote":
        registry.set_alias(name, CHAMPION, challenger.version, expected=champion.version)
    registry.set_alias(name, CHALLENGER, None, expected=challenger.version)


def _row(
    work: Work,
    model: str,
    champion: ModelVersion,
    challenger: ModelVersion,
    decision: Decision,
    window: tuple[datetime, datetime],
) -> pa.Table:
    values = {
        "decided_at": work.now_utc,
        "registered_model_name": model,
        "champion": champion.version,
        "challenger": challenger.version,
        "verdict": decision.verdict,
        "reasons": json.dumps(list(decision.reasons)),
        "figures": json.dumps(dict(decision.figures)),
        "window_start": window[0],
        "window_end": window[1],
        "run_id": work.run_id,
    }
    return pa.Table.from_pylist([values], schema=DECISIONS)
