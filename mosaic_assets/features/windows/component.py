"""The Dagster face of windows: a feature view of declared aggregations."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

import dagster as dg
from pydantic import Field

from mosaic_assets.catalogue import where
from mosaic_assets.features.component import FeatureViewFields
from mosaic_assets.features.declarations import duration
from mosaic_assets.features.views import Entity, FeatureView
from mosaic_assets.features.windows.aggregations import MICROSECOND, Aggregation, WindowedView, aggregation_of
from mosaic_assets.orchestration.station import station
from mosaic_assets.work import Made, Work, code_hash
from mosaic_resources.errors import UserError

__all__ = ["READS_COLUMNS", "AggregationFields", "StreamFeatureViewComponent"]

READS_COLUMNS = "mosaic/reads_columns"


class AggregationFields(dg.Resolvable, dg.Model):
    """One feature: a function of a column over a window."""

    function: str = Field(description="count, sum, mean, min, max, stddev, last or count_distinct.", examples=["mean"])
    column: str | None = Field(None, description="Column of the source; 'count' without one counts rows.")
    window: str = Field(description="Length of the window.", examples=["3h"])
    kind: str = Field("rolling", description="rolling, tumbling or sliding.")
    slide: str | None = Field(None, description="Of a sliding window: how far apart its ends are.", examples=["1h"])
    name: str | None = Field(None, description="Name of the feature; default: function_column_window.")
    dtype: str | None = Field(
        None, description="Of min, max and last: the column's type where it is no number, for instance timestamp."
    )

    def aggregation(self, place: str) -> Aggregation:
        """Returns the aggregation."""
        return aggregation_of(
            function=self.function, column=self.column, window=self.window, kind=self.kind, slide=self.slide,
            name=self.name, dtype=self.dtype, where=place,
        )  # fmt: skip


class StreamFeatureViewComponent(FeatureViewFields):
    """Features that are windows over the events of a table, brought up to date by each run and by each push."""

    name: str = Field(description="Name of the view.", examples=["my_windows"])
    source: str = Field(description="Table of the events, by key.", examples=["tables/events"])
    aggregations: Sequence[AggregationFields] = Field(
        description="The features; all windows of a view end at the same times.",
        examples=[[{"function": "mean", "column": "amount", "window": "3h", "kind": "rolling"}]],
    )
    timestamp_field: str = Field(
        description="Column of the source with the event time; the view's is event_ts.", examples=["started_at"]
    )
    created_timestamp_column: str | None = Field(
        None, description="Column of the source with the known time; the view's is known_ts.", examples=["ended_at"]
    )

    def windowed(self, entities: Mapping[str, Entity], place_of: Callable[..., str]) -> WindowedView:
        """Returns the view with its aggregations.

        Args:
            entities: Name → entity.
            place_of: Field, and number within it → place for messages.

        Raises:
            UserError: What is declared is unknown, malformed or does not go together.
        """
        places = [place_of("aggregations", number) for number in range(len(self.aggregations))]
        made = WindowedView(
            self.name,
            tuple(entities[name] for name in self.entities),
            self.source,
            self.timestamp_field,
            self.created_timestamp_column,
            self.delay(place_of) // MICROSECOND,
            tuple(one.aggregation(at) for one, at in zip(self.aggregations, places, strict=True)),
            duration(self.ttl, place_of("ttl")),
            self.online,
        )
        return WindowedView.checked(made, places or [place_of("aggregations")])

    def view(self, entities: Mapping[str, Entity], place_of: Callable[[str], str]) -> FeatureView:
        """Returns the view as the join and the online store see it."""
        return self.windowed(entities, lambda field, *_: place_of(field)).feature_view

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset of the view's table."""
        places = [where(context, "aggregations", number) for number in range(len(self.aggregations))]
        view = self.windowed(self.declared_entities(context), partial(where, context))
        if self.partitions_def and not isinstance(self.partitions_def, dg.TimeWindowPartitionsDefinition):
            raise UserError(
                "The partitions of windows are times.", where(context, "partitions_def"), "For instance type: daily."
            )
        used = {
            **dict.fromkeys(view.join_keys, where(context, "entities")),
            view.timestamp_field: where(context, "timestamp_field"),
            **({name: where(context, "created_timestamp_column")} if (name := view.created_timestamp_column) else {}),
            **{one.column: place for one, place in zip(view.aggregations, places, strict=True) if one.column},
        }
        asset = station(
            self,
            key=self.table,
            station_name="features",
            kinds=("delta",),
            deps=[self.source],
            code=code_hash("windows", view),
            run=lambda work: self.execute(work, view),
            metadata={
                "entities": list(self.entities),
                "ttl": self.ttl,
                "dagster/column_schema": dg.MetadataValue.table_schema(_declared_schema(view)),
                READS_COLUMNS: dg.MetadataValue.json({"table": self.source, "columns": used}),
            },
        )
        return dg.Definitions(assets=[asset])

    def execute(self, work: Work, view: WindowedView) -> Made:
        """Reads what is new in the source and writes the rows that it touches."""
        from mosaic_assets.features.windows.incremental import update

        lake, version = work.seams.lake, work.newest(view.source)
        work.uses(view.source, version)
        spans: list[tuple[str, tuple[datetime, datetime] | None]] = [
            (key, work.partition_windows[key]) for key in work.partitions
        ]
        written = 0
        for partition, span in spans or [("", None)]:
            written += update(lake, view, version, work.commit(), span, partition)
        self.describe(work, view.feature_view)
        return Made(
            self.table,
            lake.open(self.table).version(),
            columns=_lineage(view),
            metadata={"source_version": version, "rows_written": written},
        )


def _declared_schema(view: WindowedView) -> dg.TableSchema:
    features = [dg.TableColumn(one.name, one.field.dtype) for one in view.aggregations]
    times = [dg.TableColumn(name, "timestamp") for name in ("event_ts", "known_ts")]
    return dg.TableSchema([*(dg.TableColumn(key, "join key") for key in view.join_keys), *times, *features])


def _lineage(view: WindowedView) -> dict[str, list[tuple[str, str]]]:
    known = view.created_timestamp_column or view.timestamp_field
    features = {one.name: one.column or view.timestamp_field for one in view.aggregations}
    columns = {**{key: key for key in view.join_keys}, "event_ts": view.timestamp_field, "known_ts": known, **features}
    return {name: [(view.source, column)] for name, column in columns.items()}
