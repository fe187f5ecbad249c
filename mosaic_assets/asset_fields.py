"""The fields that every component shares: the attributes of its asset, named as Dagster names them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import dagster as dg
from dagster.components.resolved.core_models import (
    DailyPartitionsDefinitionModel,
    HourlyPartitionsDefinitionModel,
    StaticPartitionsDefinitionModel,
    TimeWindowPartitionsDefinitionModel,
    WeeklyPartitionsDefinitionModel,
    resolve_partitions_def,
)
from pydantic import ConfigDict, Field

from mosaic_assets.scaffolder import DeclarationScaffolder

__all__ = ["AssetFields", "ExploredFields", "MonthlyPartitions"]


class MonthlyPartitions(dg.Resolvable, dg.Model):
    """Partitions by calendar month, keys such as ``2013-07``; Dagster's own list has no monthly one."""

    type: Literal["monthly"] = "monthly"
    start_date: str
    end_date: str | None = None


DAGSTERS: Mapping[str, type[dg.Resolvable]] = {
    "hourly": HourlyPartitionsDefinitionModel,
    "daily": DailyPartitionsDefinitionModel,
    "weekly": WeeklyPartitionsDefinitionModel,
    "time_window": TimeWindowPartitionsDefinitionModel,
}


def _partitions(context: dg.ResolutionContext, model: Any) -> dg.PartitionsDefinition[str] | None:
    if model is None:
        return None
    # Of models with equal fields the first takes the YAML, whatever its 'type' says.
    if model.type in DAGSTERS:
        model = DAGSTERS[model.type].model()(**model.model_dump(exclude_unset=True))
    if model.type == "monthly":
        return dg.TimeWindowPartitionsDefinition(
            start=model.start_date,
            end=model.end_date,
            fmt="%Y-%m",
            cron_schedule="0 0 1 * *",
        )
    return resolve_partitions_def(context, model)


def _automation(context: dg.ResolutionContext, text: str | None) -> dg.AutomationCondition[Any] | None:
    if text is None or text == "eager":
        # A failed blocking check must hold back what is downstream of its partition; eager() alone does not.
        return text and dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()  # type: ignore[return-value]
    resolved = context.resolve_value(text)
    if not isinstance(resolved, dg.AutomationCondition):
        raise dg.DagsterInvalidDefinitionError(
            f"automation_condition '{text}' is neither 'eager' nor a template variable."
        )
    return resolved


@dg.scaffold_with(DeclarationScaffolder)
class AssetFields(dg.Model):
    """Attributes that Dagster shows for an asset."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    scaffolded: ClassVar[Sequence[str]] = ()
    """Optional fields that a first declaration carries."""

    description: str | None = Field(
        None, description="What the asset holds.", examples=["What a row is, and of which time."]
    )
    owners: Sequence[str] = Field((), description="E-mail addresses or team:<name>.", examples=[["team:data"]])
    tags: Mapping[str, str] = Field({}, description="Tags for filtering.", examples=[{"domain": "sales"}])
    group_name: str | None = Field(None, description="Group in the UI; default: the station.", examples=["sales"])
    kinds: Sequence[str] = Field((), description="Kinds shown beside those that the component sets.")
    metadata: Mapping[str, Any] = Field({}, description="Further metadata.")
    code_version: str | None = Field(None, description="Version of the code; default: a hash of what is declared.")
    automation_condition: Annotated[
        dg.AutomationCondition[Any] | None, dg.Resolver(_automation, model_field_type=str | None)
    ] = Field(
        None, description="'eager' (which waits for blocking checks), or a template variable.", examples=["eager"]
    )
    partitions_def: Annotated[
        dg.PartitionsDefinition[str] | None,
        dg.Resolver(
            _partitions,
            model_field_type=MonthlyPartitions.model()
            | HourlyPartitionsDefinitionModel
            | DailyPartitionsDefinitionModel
            | WeeklyPartitionsDefinitionModel
            | TimeWindowPartitionsDefinitionModel
            | StaticPartitionsDefinitionModel
            | None,
        ),
    ] = Field(
        None,
        description="Partitions of the asset; 'monthly' is ours, the others are Dagster's.",
        examples=[{"type": "monthly", "start_date": "2024-01"}],
    )


class ExploredFields(AssetFields):
    """Attributes of an asset that is a table which people explore."""

    exploration: bool = Field(
        False, description="Whether each run makes a page of types, distributions, missing, relations."
    )
