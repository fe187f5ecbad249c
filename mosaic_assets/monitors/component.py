"""The Dagster face of monitors: profiles, baseline, drift, incidents, and the sensor that answers them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from mosaic_assets.asset_fields import AssetFields
from mosaic_assets.catalogue import where
from mosaic_assets.features.declarations import duration
from mosaic_assets.models.gates import ValidationThreshold
from mosaic_assets.monitors.compare import ALARM_METRICS
from mosaic_assets.monitors.declaration import Monitor
from mosaic_assets.monitors.incidents import Policy
from mosaic_assets.monitors.sensors import retraining_sensor
from mosaic_assets.monitors.windows import GRANULARITIES
from mosaic_assets.orchestration.station import station
from mosaic_assets.work import Made, Work, code_hash
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["IncidentFields", "MonitorComponent", "RetrainingFields"]

NO_INCIDENT = "no_open_incident"


class IncidentFields(dg.Model, dg.Resolvable):
    """When drift is an incident. The score of a window is the share of its columns with an alarm."""

    granularity: str = Field("1 month", description="Length of the windows that are judged.")
    thresholds: Mapping[str, float] = Field(
        {"population_stability_index": 0.2},
        description="Metric → value over which a column is an alarm, unless the baseline's own windows do too.",
        examples=[{"population_stability_index": 0.2, "ks_test": 0.2}],
    )
    open_over: float = Field(0.10, ge=0, le=1, description="A window with this score or more is bad.")
    close_under: float = Field(0.05, ge=0, le=1, description="A window with a lower score is good.")
    open_after: int = Field(1, ge=1, description="Bad windows in a row that open it.")
    close_after: int = Field(1, ge=1, description="Good windows in a row that close it.")
    critical_over: float = Field(0.25, ge=0, description="From this score on it is critical.")
    min_rows: int = Field(1000, ge=1, description="Windows with fewer rows say nothing.")
    owner: str = Field("", description="Who looks after it.", examples=["team:data"])

    def policy(self) -> Policy:
        """Returns the rules of the state machine."""
        return Policy(
            self.open_over, self.close_under, self.open_after, self.close_after, self.critical_over, self.owner
        )


def _defaults() -> IncidentFields:
    return IncidentFields.model_validate({})


class RetrainingFields(dg.Model, dg.Resolvable):
    """What an incident sets off."""

    assets: Sequence[str] = Field((), description="Keys of the assets to materialize.", examples=[["models/my_model"]])
    job: str | None = Field(None, description="Job to run instead of assets.")
    cooldown: str = Field("24h", description="Least time between two retrainings.")
    interval_seconds: int = Field(15, ge=1, description="How often the sensor looks.")
    min_labelled_rows: int = Field(2000, ge=1, description="Fewer labels decide no promotion.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Of the interval of the difference in AUC.")
    validation_thresholds: Mapping[str, Mapping[str, float | bool]] = Field(
        {}, description="Metric → threshold, min_absolute_change, min_relative_change, greater_is_better."
    )

    def gates(self) -> dict[str, ValidationThreshold]:
        """Returns the demands on the challenger.

        Raises:
            UnknownNameError: A demand is none of the known ones.
            UserError: A metric demands nothing.
        """
        known = [field.name for field in fields(ValidationThreshold)]
        for name in (name for demand in self.validation_thresholds.values() for name in demand):
            if name not in known:
                raise UnknownNameError("validation threshold", name, known)
        found: dict[str, Any] = {**self.validation_thresholds}
        return {metric: ValidationThreshold(**demand) for metric, demand in found.items()}


class MonitorComponent(AssetFields, dg.Component, dg.Resolvable):
    """Watches a table for drift against the champion's training rows, and for the quality of its predictions."""

    scaffolded = ("timestamp_col",)

    name: str = Field(description="Name of the monitor.", examples=["my_monitor"])
    table_name: str = Field(description="Table to watch; holds the features.", examples=["predictions/my_predictions"])
    profile_type: Literal["snapshot", "time_series", "inference_log"] = Field(
        "inference_log", description="snapshot: all rows are of now. inference_log: predictions, with quality."
    )
    timestamp_col: str | None = Field(
        None, description="Time of a row; needed except for a snapshot.", examples=["asked_at"]
    )
    granularities: Sequence[str] = Field(("1 day", "1 month"), description=f"Of {', '.join(GRANULARITIES)}.")
    columns: Sequence[str] = Field((), description="Columns to watch; default: all numbers and texts.")
    exclude_columns: Sequence[str] = Field(
        (), description="Columns not to watch, such as keys.", examples=[["event_id"]]
    )
    slicing_exprs: Sequence[str] = Field(
        (), description="Columns each value of which is profiled apart.", examples=[["kind"]]
    )
    problem_type: Literal["classification"] = Field("classification", description="What is predicted.")
    prediction_col: str | None = Field(None, description="Probability of the positive class.", examples=["probability"])
    model_id_col: str | None = Field(None, description="Column of the model version.", examples=["model_version"])
    label_col: str | None = Field(None, description="Column of the label.", examples=["label"])
    label_table_name: str | None = Field(
        None, description="Table of late labels; default: the watched table.", examples=["tables/outcomes"]
    )
    label_known_col: str | None = Field(
        None, description="When a label became known; only labels known by now count.", examples=["label_known_ts"]
    )
    entity_key: Sequence[str] = Field(
        (), description="Columns that predictions and labels share.", examples=[["event_id"]]
    )
    min_labelled_rows: int = Field(200, ge=1, description="Windows with fewer known labels have no quality yet.")
    baseline_table_name: str = Field(description="Table of the training rows.", examples=["datasets/my_dataset"])
    baseline_timestamp_col: str | None = Field(None, description="Time of a training row; default: timestamp_col.")
    baseline_splits: Sequence[str] = Field(("train", "validation"), description="Values of 'split' that were learnt.")
    registered_model_name: str | None = Field(
        None,
        description="Model whose champion's dataset is the baseline; default: the table's newest version.",
        examples=["my_model"],
    )
    deps: Sequence[str] = Field(
        (),
        description="Further assets that move the baseline, such as the model's promotion.",
        examples=[["monitors/my_monitor_decision"]],
    )
    incident: IncidentFields = Field(default_factory=_defaults, description="When drift is an incident.")
    retraining: RetrainingFields | None = Field(None, description="What an incident sets off.")

    def key(self, kind: str) -> str:
        """Returns the key of one of the monitor's assets."""
        return f"monitors/{self.name}_{kind}"

    def monitor(self) -> Monitor:
        """Returns the declaration as plain values."""
        shared = {field.name for field in fields(Monitor)} & set(type(self).model_fields)
        named = {name: _plain(getattr(self, name)) for name in shared}
        judged = {name: getattr(self.incident, name) for name in ("granularity", "thresholds", "min_rows")}
        return Monitor(**named, **judged, slicing_columns=tuple(self.slicing_exprs), policy=self.incident.policy())

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the monitor's assets and, with ``retraining``, its sensor."""
        self._check(context)
        labels = [self.label_table_name] if self.label_table_name else []
        profiles = self._asset("profile_metrics", [self.table_name, *labels], self.profile, ("delta", "whylogs"))
        baseline = self._asset("baseline", [self.baseline_table_name, *self.deps], self.fit, ("delta",), split=False)
        drift = self._asset(
            "drift_metrics", [self.key("profile_metrics"), self.key("baseline")], self.compare, ("delta",)
        )
        incidents = self._asset(
            "incidents",
            [self.key("drift_metrics"), self.key("baseline")],
            self.judge,
            ("delta",),
            split=False,
            checked=True,
        )
        made = [profiles, baseline, drift, incidents]
        if self.retraining is None:
            return dg.Definitions(assets=made)
        if self.registered_model_name is not None:
            made.append(self._asset("decision", [self.table_name, *labels], self.decide, ("delta", "mlflow")))
        cooldown = duration(self.retraining.cooldown, where(context, "retraining"))
        assert cooldown is not None
        sensor = retraining_sensor(
            self.name,
            assets=self.retraining.assets,
            job=self.retraining.job,
            cooldown=cooldown,
            interval_seconds=self.retraining.interval_seconds,
        )
        return dg.Definitions(assets=made, sensors=[sensor])

    def profile(self, work: Work) -> Made:
        """Profiles the window's rows, keeps the profiles, and measures the quality of its predictions."""
        from mosaic_assets.monitors.profile_steps import profile_step

        return profile_step(self.monitor(), work)

    def fit(self, work: Work) -> Made:
        """Makes the baseline of the champion's training rows."""
        from mosaic_assets.monitors.profile_steps import baseline_step

        return baseline_step(self.monitor(), work)

    def compare(self, work: Work) -> Made:
        """Compares the window's profiles with the baseline and with the window before."""
        from mosaic_assets.monitors.drift_steps import drift_step

        return drift_step(self.monitor(), work)

    def judge(self, work: Work) -> Made:
        """Opens and closes incidents by what the finished windows say."""
        from mosaic_assets.monitors.drift_steps import incident_step

        return incident_step(self.monitor(), work)

    def decide(self, work: Work) -> Made:
        """Promotes the challenger or keeps the champion, by labels that neither has learnt from."""
        from mosaic_assets.monitors.decision_step import Contest, decision_step

        assert self.retraining is not None
        asked = self.retraining
        contest = Contest(asked.min_labelled_rows, asked.confidence, asked.gates())
        return decision_step(self.monitor(), contest, work)

    def _asset(
        self,
        kind: str,
        deps: Sequence[str],
        run: Callable[[Work], Made],
        kinds: Sequence[str],
        *,
        split: bool = True,
        checked: bool = False,
    ) -> dg.AssetsDefinition:
        shown = self if split else self.model_copy(update={"partitions_def": None})
        said = f"{self.description} " if self.description else ""
        key = dg.AssetKey(self.key(kind).split("/"))
        check = dg.AssetCheckSpec(NO_INCIDENT, asset=key, description="No incident of this monitor is open.")
        return station(
            shown.model_copy(update={"description": said + DESCRIPTIONS[kind]}),
            key=self.key(kind),
            station_name="monitors",
            kinds=kinds,
            deps=list(dict.fromkeys(deps)),
            code=code_hash("monitor", kind, self.monitor()),
            run=run,
            check_specs=[check] if checked else [],
        )

    def _check(self, context: dg.ComponentLoadContext) -> None:
        place = where(context, "granularities")
        for granularity in (*self.granularities, self.incident.granularity):
            if granularity not in GRANULARITIES:
                raise UnknownNameError("granularity", granularity, GRANULARITIES, place)
        if self.incident.granularity not in self.granularities:
            raise UserError("incident.granularity is not among the granularities.", place, "Add it.")
        if self.profile_type != "snapshot" and self.timestamp_col is None:
            raise UserError(f"A {self.profile_type} monitor needs 'timestamp_col'.", where(context, "profile_type"))
        if self.label_col and not (self.prediction_col and self.entity_key):
            raise UserError("'label_col' needs 'prediction_col' and 'entity_key'.", where(context, "label_col"))
        if self.retraining and bool(self.retraining.assets) == bool(self.retraining.job):
            raise UserError("'retraining' needs 'assets' or 'job', one of them.", where(context, "retraining"))
        for metric in self.incident.thresholds:
            if metric not in ALARM_METRICS:
                raise UnknownNameError("metric", metric, ALARM_METRICS, where(context, "incident"))
        with placed(where(context, "incident")):
            self.incident.policy()
        if self.retraining is not None:
            with placed(where(context, "retraining")):
                self.retraining.gates()


@contextmanager
def placed(place: str) -> Iterator[None]:
    """Adds ``file:line`` to what the domain finds wrong with a declaration."""
    try:
        yield
    except UserError as exc:
        raise UserError(exc.what, place, exc.do) from exc


DESCRIPTIONS = {
    "profile_metrics": "Profiles by window: counts, moments, quantiles, frequent items; quality by late labels.",
    "baseline": "Distributions of the champion's training rows, over edges that stay fixed until the next promotion.",
    "drift_metrics": "Distances of each window from the baseline and from the window before; alarms by effect size.",
    "decision": "What became of each challenger, and why; a promotion moves the alias 'champion'.",
    "incidents": "Events of incidents: opened, acknowledged, resolved, with epochs; only ever appended.",
}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else value
