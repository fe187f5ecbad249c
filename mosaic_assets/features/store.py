"""What a notebook uses: the project's features without Dagster running."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from mosaic_assets.catalogue import ComponentTree, project_tree
from mosaic_assets.features import materialize as online
from mosaic_assets.features.component import (
    EntityComponent,
    FeatureServiceComponent,
    feature_service_of,
    feature_views,
)
from mosaic_assets.features.historical import get_historical_features, known_by
from mosaic_assets.features.incremental import materialize_incremental
from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, FeatureView
from mosaic_assets.features.windows.aggregations import WindowedView
from mosaic_assets.features.windows.component import StreamFeatureViewComponent
from mosaic_assets.features.windows.stream import WindowStream
from mosaic_resources.errors import UnknownNameError
from mosaic_resources.seams import Seams
from mosaic_resources.settings.clock import now_utc
from mosaic_resources.settings.settings import find_project_root

__all__ = ["FeatureStore"]


class FeatureStore:
    """The declared features of a project and their rows: past, present, and to come.

    Tables come in as Arrow, pandas or Polars (whatever speaks Arrow's C stream), and go out as Arrow.

    Args:
        seams: The opened target.
        tree: The project's components.

    Example:
        In a notebook of the project::

            store = FeatureStore.of(".")
            store.get_historical_features(labels, ["aircraft:*"], "asked_at").to_pandas()
    """

    def __init__(self, seams: Seams, tree: ComponentTree) -> None:
        self.seams, self._tree = seams, tree
        self._streams: dict[str, WindowStream] = {}

    @classmethod
    def of(cls, project: Path | str = ".", target: str | None = None) -> "FeatureStore":
        """Returns the store of the project that a folder lies in."""
        root = find_project_root(Path(project).resolve())
        return cls(Seams.of(root, target), project_tree(root))

    @cached_property
    def entities(self) -> Mapping[str, Entity]:
        """Name → entity."""
        return {one.name: one.entity() for one in self._tree.get_all_components(of_type=EntityComponent)}

    @cached_property
    def feature_views(self) -> Mapping[str, FeatureView]:
        """Name → feature view."""
        return feature_views(self._tree)

    @cached_property
    def stream_feature_views(self) -> Mapping[str, WindowedView]:
        """Name → stream feature view, with its aggregations."""
        declared = self._tree.get_all_components(of_type=StreamFeatureViewComponent)
        return {
            one.name: one.windowed(self.entities, lambda *_, name=one.name: f"StreamFeatureView '{name}'")  # type: ignore[misc]
            for one in declared
        }

    @cached_property
    def feature_services(self) -> Mapping[str, FeatureService]:
        """Name → feature service."""
        declared = self._tree.get_all_components(of_type=FeatureServiceComponent)
        return {one.name: feature_service_of(self._tree, one.name) for one in declared}

    def get_historical_features(
        self,
        entity_df: Any,
        features: str | Sequence[str],
        timestamp_field: str = "event_timestamp",
        versions: Mapping[str, int] | None = None,
    ) -> pa.Table:
        """Returns the rows with one ``view__feature`` column for each feature, as it was known at each row's time.

        Args:
            entity_df: Rows with the join keys and a time (with zone) to look from.
            features: A feature service by name, or ``view:feature`` and ``view:*``.
            timestamp_field: Column of the time.
            versions: View → Delta version of its table; default: the newest.

        Raises:
            UnknownNameError: A service, view, feature or column is not there.
        """
        wanted = {self._view(name).source: version for name, version in (versions or {}).items()}
        lake = self.seams.lake

        def read(view: FeatureView) -> pa.Table:
            return lake.read(view.source, wanted.get(view.source))

        return get_historical_features(pa.table(entity_df), self._service(features), read, timestamp_field)

    def get_online_features(self, entity_rows: Any, service: str, at: datetime | None = None) -> pa.Table:
        """Returns the rows with their features as the endpoint would look them up; default: now."""
        return online.get_online_features(
            self.seams.online, self._service(service), pa.table(entity_rows), at or self._now
        )

    def materialize(self, service: str, end: datetime | None = None) -> dict[str, int]:
        """Writes the newest row of each key, of all rows known by ``end``; returns view → keys that changed."""
        until = online.to_us(end or self._now)
        changed = {}
        for view, _ in self._service(service).views:
            rows = self.seams.lake.read(view.source)
            known = known_by(view, rows, until)
            changed[view.name] = online.materialize(self.seams.online, self._service(service), view.name, known)
        return changed

    def materialize_incremental(self, service: str, end: datetime | None = None) -> dict[str, int]:
        """Writes what has become known since the last call; returns view → keys that changed."""
        chosen, until = self._service(service), end or self._now
        store, lake = self.seams.online, self.seams.lake
        return {view.name: materialize_incremental(store, lake, chosen, view, until) for view, _ in chosen.views}

    def push(self, view: str, rows: Any) -> int:
        """Writes rows that have just become known to every service that uses the view; returns the keys changed.

        They are looked up from now on; the view's table learns of them from its own sources. Rows of a stream feature
        view are events of its source: its windows go on from those that the source holds at the first push, and are
        kept in this object.
        """
        pushed = pa.table(rows)
        if view in self.stream_feature_views:
            return self._write_stream(view, pushed)
        return online.push(self.seams.online, self.feature_services.values(), self._view(view).name, pushed)

    def advance(self, view: str) -> int:
        """Writes the rows of a stream feature view whose time has come since its last push; returns the keys changed.

        Windows with a slide end without an event; call it at least so often.

        Raises:
            UnknownNameError: There is no such stream feature view.
        """
        if view not in self.stream_feature_views:
            raise UnknownNameError("StreamFeatureView", view, self.stream_feature_views)
        return self._write_stream(view, None)

    def _write_stream(self, name: str, events: pa.Table | None) -> int:
        view, now_us = self.stream_feature_views[name], online.to_us(self._now)
        begins = name not in self._streams
        if begins:
            lake = self.seams.lake
            self._streams[name] = WindowStream(view, lake.read(view.source, columns=view.source_columns), now_us)
        stream = self._streams[name]
        rows = stream.advance(now_us) if events is None else stream.push(events, now_us)
        if begins:
            rows = pa.concat_tables([stream.first, rows])
        return online.push(self.seams.online, self.feature_services.values(), name, rows)

    @property
    def _now(self) -> datetime:
        return now_utc(self.seams.settings.state)

    def _view(self, name: str) -> FeatureView:
        if name not in self.feature_views:
            raise UnknownNameError("FeatureView", name, self.feature_views)
        return self.feature_views[name]

    def _service(self, features: str | Sequence[str]) -> FeatureService:
        if not isinstance(features, str):
            return FeatureService.of("these features", self.feature_views.values(), map(FeatureRef.parse, features))
        if features not in self.feature_services:
            raise UnknownNameError("FeatureService", features, self.feature_services)
        return self.feature_services[features]
