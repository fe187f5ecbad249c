"""The Dagster face of features: entities, feature views, feature services."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import ClassVar

import dagster as dg
import pyarrow as pa
from pydantic import Field

from mosaic_assets.asset_fields import AssetFields
from mosaic_assets.catalogue import declared, reference, where
from mosaic_assets.features.declarations import check_rows, duration, fields_of
from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, FeatureView
from mosaic_assets.orchestration.station import station
from mosaic_assets.scaffolder import DeclarationScaffolder
from mosaic_assets.tables.query import pin, read_text, run_query, tables_in
from mosaic_assets.work import Made, Work, code_hash
from mosaic_resources.engine.session import engine_errors
from mosaic_resources.errors import UnknownNameError, UserError
from mosaic_resources.online.address import shown_address

__all__ = [
    "EntityComponent",
    "FeatureServiceComponent",
    "FeatureViewComponent",
    "FeatureViewFields",
    "feature_service",
    "feature_service_of",
    "feature_views",
]


@dg.scaffold_with(DeclarationScaffolder)
class EntityComponent(dg.Component, dg.Model, dg.Resolvable):
    """A thing that features describe, found by its join keys."""

    name: str = Field(description="Name of the entity.", examples=["my_thing"])
    join_keys: Sequence[str] = Field(description="Columns that identify it.", examples=[["thing_id"]])
    description: str | None = Field(
        None, description="What it is.", examples=["What the features are about: a customer, a house, a machine."]
    )

    def entity(self) -> Entity:
        """Returns the entity."""
        return Entity(self.name, tuple(self.join_keys))

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns nothing to materialize: an entity is referred to."""
        return dg.Definitions()


class FeatureViewFields(AssetFields, dg.Component, dg.Resolvable):
    """What all kinds of feature views declare."""

    scaffolded: ClassVar[Sequence[str]] = ("known_delay",)

    name: str = Field(description="Name of the view.", examples=["my_view"])
    entities: Sequence[str] = Field(description="Entities that the rows describe, by name.", examples=[["my_thing"]])
    timestamp_field: str = Field("event_ts", description="Column of the event time.")
    created_timestamp_column: str | None = Field(None, description="Column of the known time.", examples=["known_ts"])
    known_delay: str | None = Field(
        None, description="Time until an event is known, where no column says it.", examples=["1h"]
    )
    ttl: str | None = Field(None, description="How old an event may be when it is used.", examples=["24h"])
    online: bool = Field(True, description="Whether it is materialized to the online store.")

    @property
    def table(self) -> str:
        """Key of the view's table."""
        return f"features/{self.name}"

    def view(self, entities: Mapping[str, Entity], place_of: Callable[[str], str]) -> FeatureView:
        """Returns the view.

        Args:
            entities: The project's entities by name.
            place_of: Field → place for messages.
        """
        raise NotImplementedError

    def delay(self, place_of: Callable[[str], str]) -> timedelta:
        """Returns how long after its event time an event is known; nothing where a column says it.

        Raises:
            UserError: Both or neither of the known time's column and delay are declared, or a duration is malformed.
        """
        if (self.created_timestamp_column is None) == (self.known_delay is None):
            raise UserError(
                f"FeatureView '{self.name}' needs a known time.",
                place_of("name"),
                "Declare 'created_timestamp_column' or 'known_delay', one of them.",
            )
        return duration(self.known_delay, place_of("known_delay")) or timedelta(0)

    def declared_entities(self, context: dg.ComponentLoadContext) -> dict[str, Entity]:
        """Returns the project's entities, those of this view among them.

        Raises:
            UnknownNameError: One of the view is not declared.
        """
        for name in self.entities:
            reference(context, EntityComponent, name, "entities")
        return {name: component.entity() for name, component in declared(context, EntityComponent).items()}

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns nothing to materialize; each kind of view has its own asset."""
        return dg.Definitions()

    def describe(self, work: Work, view: FeatureView) -> None:
        """Tells lineage what the view is."""
        work.lineage.describe(
            "mosaic_featureView",
            view=view.name,
            entities=list(self.entities),
            timestampField=view.timestamp_field,
            createdTimestampColumn=view.created_timestamp_column,
            ttlSeconds=view.ttl.total_seconds() if view.ttl else None,
            definitionHash=code_hash(view),
        )


class FeatureViewComponent(FeatureViewFields):
    """Features of one or more entities, with an event time and a known time."""

    sql: str = Field(
        description="SQL file beside this YAML; tables are written folder.table.", examples=["my_view.sql"]
    )
    features: Mapping[str, str] = Field(
        description="Feature → int64, float64, bool, timestamp or string(width).",
        examples=[{"amount": "float64"}],
        alias="schema",
    )

    def view(self, entities: Mapping[str, Entity], place_of: Callable[[str], str]) -> FeatureView:
        """Returns the view.

        Args:
            entities: The project's entities by name.
            place_of: Field → place for messages.

        Raises:
            UserError: Both or neither of the known time's column and delay are declared, a duration is malformed, or a
                type is unknown.
        """
        return FeatureView(
            self.name,
            tuple(entities[name] for name in self.entities),
            fields_of(self.features, place_of("schema")),
            self.table,
            self.timestamp_field,
            self.created_timestamp_column,
            self.delay(place_of),
            duration(self.ttl, place_of("ttl")),
            self.online,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset of the view's table."""
        view = self.view(self.declared_entities(context), partial(where, context))
        query = read_text(Path(context.path) / self.sql, where(context, "sql"))
        inputs = tables_in(query)
        asset = station(
            self,
            key=self.table,
            station_name="features",
            kinds=("delta", "sql"),
            deps=inputs,
            code=code_hash("view", query, view),
            run=lambda work: self.execute(work, view, query, inputs),
            metadata={
                "entities": list(self.entities),
                "ttl": self.ttl,
                "query": dg.MetadataValue.md(f"```sql\n{query}\n```"),
            },
        )
        return dg.Definitions(assets=[asset])

    def execute(self, work: Work, view: FeatureView, query: str, inputs: Sequence[str]) -> Made:
        """Computes the view's rows over the newest versions of its tables and replaces the view's table."""
        lake = work.seams.lake
        frame, columns = run_query(work, query, pin(work, inputs))
        with engine_errors(work.seams.settings.engine, work.asset):
            rows = check_rows(view, frame.toArrow(), work.asset)
        version = lake.write(self.table, rows, work.commit())
        self.describe(work, view)
        return Made(self.table, version, rows.num_rows, rows.schema, columns, rows)


class FeatureServiceComponent(AssetFields, dg.Component, dg.Resolvable):
    """The features that one model uses; the asset keeps them in the online store."""

    name: str = Field(description="Name of the service.", examples=["my_features"])
    features: Sequence[str] = Field(description="view:feature, or view:* for all of a view.", examples=[["my_view:*"]])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset that materializes the online views of this service."""
        service = feature_service(context, self.name)
        views = [view.source for view, _ in service.views if view.online]
        asset = station(
            self,
            key=f"online/{self.name}",
            station_name="features",
            kinds=("lmdb",),
            deps=views,
            code=code_hash("service", service),
            run=lambda work: self.execute(work, service),
        )
        return dg.Definitions(assets=[asset])

    def execute(self, work: Work, service: FeatureService) -> Made:
        """Writes what has become known since the last run to the online store; a row never goes back in time."""
        from mosaic_assets.features.historical import known_by
        from mosaic_assets.features.materialize import to_us
        from mosaic_assets.features.refresh import refresh
        from mosaic_assets.lineage.names import online_use

        def read_keys(view: FeatureView) -> pa.Table:
            return known_by(view, work.read_table(view.source, columns=view.row_key), to_us(work.now_utc))

        address, seams = work.seams.settings.online, work.seams
        done = refresh(seams.online, seams.lake, service, work.now_utc, read_keys)
        work.lineage.wrote(online_use(address, service.name, work.run_id, work.asset))
        return Made(
            version=work.run_id,
            num_rows=sum(done.views["keys"].to_pylist()),
            schema=done.schema,
            columns=done.columns,
            preview=done.views,
            metadata={"keys_written": sum(done.views["written"].to_pylist())},
            address=shown_address(address),
        )


def feature_service(context: dg.ComponentLoadContext, name: str) -> FeatureService:
    """Returns the declared feature service with its views.

    Raises:
        UnknownNameError: A view or feature that it names is not declared.
    """
    component = reference(context, FeatureServiceComponent, name, "feature_service")
    return _assemble(component, context.component_tree)


def feature_service_of(tree: dg.ComponentTree, name: str) -> FeatureService:
    """Returns a declared feature service of a project, outside a load; for commands and notebooks.

    Raises:
        UnknownNameError: It is not declared.
    """
    known = {service.name: service for service in tree.get_all_components(of_type=FeatureServiceComponent)}
    if name not in known:
        raise UnknownNameError("FeatureServiceComponent", name, known)
    return _assemble(known[name], tree)


def _assemble(component: FeatureServiceComponent, tree: dg.ComponentTree) -> FeatureService:
    return FeatureService.of(component.name, feature_views(tree).values(), map(FeatureRef.parse, component.features))


def feature_views(tree: dg.ComponentTree) -> dict[str, FeatureView]:
    """Returns name → declared feature view of a project."""
    entities = {one.name: one.entity() for one in tree.get_all_components(of_type=EntityComponent)}
    return {
        # Its own file and line are told where the view itself is built.
        one.name: one.view(entities, lambda _, name=one.name: f"FeatureView '{name}'")  # type: ignore[misc]
        for one in tree.get_all_components(of_type=FeatureViewFields)
    }
