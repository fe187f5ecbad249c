"""The model card: what ran, in Markdown, from what ran."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from mosaic_assets.models.fitted import FittedModel
from mosaic_assets.models.gates import Verdict
from mosaic_assets.models.scores import calibration_table

__all__ = ["CardFacts", "model_card"]

SHOWN_METRICS = ("roc_auc", "log_loss", "brier_score", "positive_share", "mean_probability", "num_rows")


@dataclass(frozen=True)
class CardFacts:
    """What a card says beside the fitted model.

    Args:
        name: Registered model.
        description: What it predicts.
        label: Label column.
        dataset: Table of the dataset, with its version.
        manifest_id: Its manifest.
        run_id: MLflow run.
        code_version: Hash of what is declared.
        trained_at: Time of the step, UTC.
        recipe: Setting → value, as declared and chosen.
        verdict: What the gates said.
        comparison: The version beside the one before it, in one line; empty: not compared.
    """

    name: str
    description: str
    label: str
    dataset: str
    manifest_id: str
    run_id: str
    code_version: str
    trained_at: datetime
    recipe: Mapping[str, object]
    verdict: Verdict | None = None
    comparison: str = ""


def model_card(facts: CardFacts, model: FittedModel) -> str:
    """Returns the card."""
    sections = [
        f"# {facts.name}\n\n{facts.description}",
        f"Predicts the probability that `{facts.label}` is 1.",
        _section("Made from", _table(("what", "which"), _origin(facts, model))),
        _section("How good", _metric_table(model.metrics)),
        facts.comparison,
        _section("Trials", _trials(model)),
        _section("Gates", _verdict(facts.verdict)),
        _section("Calibration", _calibration(model)),
        _section(
            "Settings", _table(("setting", "value"), [(name, f"`{value}`") for name, value in facts.recipe.items()])
        ),
        _section(
            "What ran", _table(("algorithm or callback", "times"), list(model.fired.items())) if model.fired else ""
        ),
        _section("Columns", _columns(model)),
        f"The exported graph lies within {model.export_difference:.1g} of the model on a sample.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}" if text else ""


def _origin(facts: CardFacts, model: FittedModel) -> list[tuple[str, str]]:
    return [
        ("dataset", facts.dataset),
        ("manifest", facts.manifest_id),
        ("MLflow run", facts.run_id),
        ("code version", facts.code_version),
        ("trained at", facts.trained_at.isoformat(timespec="seconds")),
        ("last fit", f"{model.seconds:.1f} s"),
        *((f"rows: {split}", f"{count:,}") for split, count in model.num_rows.items() if count),
    ]


def _columns(model: FittedModel) -> str:
    words = [f"{name} ({len(vocabulary)})" for name, vocabulary in model.encoding.categorical.items()]
    return f"Numeric: {', '.join(model.encoding.numeric) or 'none'}.\n\nCategorical: {', '.join(words) or 'none'}."


def _metric_table(metrics: Mapping[str, float]) -> str:
    splits = [split for split in ("validation", "test") if f"{split}_log_loss" in metrics]
    if not splits:
        return "Not measured here: the comparison with the champion on later labels decides."
    lines = [(name, *(_number(metrics.get(f"{split}_{name}")) for split in splits)) for name in SHOWN_METRICS]
    return _table(("metric", *splits), lines)


def _trials(model: FittedModel) -> str:
    if not model.trials:
        return ""
    lines = []
    for number, trial in enumerate(model.trials):
        chosen = "chosen" if trial.settings == model.settings else ""
        shown = ", ".join(f"{name} = {value}" for name, value in trial.settings.items()) or "as declared"
        lines.append(
            (
                str(number),
                shown,
                _number(trial.metrics.get("roc_auc")),
                _number(trial.metrics.get("log_loss")),
                f"{trial.seconds:.1f} s",
                chosen,
            )
        )
    return _table(("trial", "settings", "roc_auc", "log_loss", "time", ""), lines)


def _calibration(model: FittedModel) -> str:
    if not model.scored:
        return ""
    split, (label, probability) = list(model.scored.items())[-1]
    lines = [
        tuple(_number(row[name]) for name in ("mean_probability", "positive_share"))
        for row in calibration_table(label, probability)
    ]
    return f"On the {split} split, by tenths of the rows.\n\n" + _table(("mean probability", "share of label 1"), lines)


def _verdict(verdict: Verdict | None) -> str:
    if verdict is None:
        return ""
    return (
        "\n".join(f"- {'✓' if reason.passed else '✗'} {reason.text}" for reason in verdict.reasons)
        or "Nothing was demanded."
    )


def _number(value: float | None) -> str:
    if value is None:
        return "not defined"
    return f"{value:,.0f}" if value == int(value) and abs(value) > 1 else f"{value:.4f}"


def _table(head: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)
