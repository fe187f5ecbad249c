"""What an entity, a feature view and a feature service are."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from mosaic_resources.errors import UserError

__all__ = ["Dtype", "Entity", "FeatureRef", "FeatureService", "FeatureView", "Field", "column_name"]

Dtype = Literal["int64", "float64", "bool", "timestamp", "string"]


def column_name(view: str, feature: str) -> str:
    """Returns the column that a feature has in a dataset: ``view__feature``, as Feast's full names."""
    return f"{view}__{feature}"


@dataclass(frozen=True)
class Field:
    """One feature of a view.

    Args:
        name: Column in the view's table.
        dtype: One of ``Dtype``; a string holds at most ``width`` UTF-8 bytes online.
        width: Bytes that a value takes online.
    """

    name: str
    dtype: Dtype
    width: int = 8

    def __post_init__(self) -> None:
        if self.dtype not in get_args(Dtype):
            raise UserError(
                f"Type '{self.dtype}' is unknown.", f"feature '{self.name}'", f"Known: {', '.join(get_args(Dtype))}."
            )


@dataclass(frozen=True)
class Entity:
    """A thing that features describe, found by its join keys."""

    name: str
    join_keys: tuple[str, ...]


@dataclass(frozen=True)
class FeatureView:
    """Rows of features with an event time and a known time.

    Args:
        name: Name of the view.
        entities: What the rows describe; the join keys are all of theirs, in order.
        schema: The features.
        source: Table with the rows (an asset key as text).
        timestamp_field: Column of the event time, UTC.
        created_timestamp_column: Column of the known time, UTC; None when ``known_delay`` says it.
        known_delay: Time from the event until it is known, when no column holds the known time.
        ttl: How long after its event time a row may be used; None: for ever.
        online: Whether it is materialized to the online store.
    """

    name: str
    entities: tuple[Entity, ...]
    schema: tuple[Field, ...]
    source: str
    timestamp_field: str = "event_ts"
    created_timestamp_column: str | None = "known_ts"
    known_delay: timedelta = timedelta(0)
    ttl: timedelta | None = None
    online: bool = True

    @property
    def join_keys(self) -> tuple[str, ...]:
        """The columns that find a row."""
        return tuple(key for entity in self.entities for key in entity.join_keys)

    @property
    def row_key(self) -> tuple[str, ...]:
        """The columns that no two rows share: join keys, event time, and the known time where a column holds it."""
        known = (self.created_timestamp_column,) if self.created_timestamp_column else ()
        return (*self.join_keys, self.timestamp_field, *known)


@dataclass(frozen=True)
class FeatureRef:
    """One feature by ``view:feature``."""

    view: str
    feature: str

    @classmethod
    def parse(cls, text: str) -> "FeatureRef":
        """Returns the reference that ``view:feature`` names.

        Raises:
            UserError: The text has no colon.
        """
        view, colon, feature = text.partition(":")
        if not (view and colon and feature):
            raise UserError(f"'{text}' is no feature reference.", do="Write view:feature, or view:* for all of a view.")
        return cls(view, feature)


@dataclass(frozen=True)
class FeatureService:
    """The features that one model uses, by view, in order.

    Args:
        name: Name of the service.
        views: Each view with the features that are used of it.
    """

    name: str
    views: tuple[tuple[FeatureView, tuple[Field, ...]], ...]

    @classmethod
    def of(cls, name: str, views: Iterable[FeatureView], refs: Iterable[FeatureRef]) -> "FeatureService":
        """Returns the service that uses ``refs`` of ``views``; ``view:*`` takes all of a view.

        Raises:
            UnknownNameError: A view or a feature is not declared.
        """
        from mosaic_resources.errors import UnknownNameError

        known = {view.name: view for view in views}
        chosen: dict[str, list[Field]] = {}
        for ref in refs:
            if ref.view not in known:
                raise UnknownNameError("FeatureView", ref.view, known, f"FeatureService '{name}'")
            fields = {field.name: field for field in known[ref.view].schema}
            if ref.feature != "*" and ref.feature not in fields:
                raise UnknownNameError(f"feature of '{ref.view}'", ref.feature, fields, f"FeatureService '{name}'")
            wanted = fields.values() if ref.feature == "*" else [fields[ref.feature]]
            used = chosen.setdefault(ref.view, [])
            used.extend(field for field in wanted if field not in used)
        return cls(name, tuple((known[view], tuple(fields)) for view, fields in chosen.items()))

    @property
    def columns(self) -> list[str]:
        """The columns that the service adds to a dataset, in order."""
        return [column_name(view.name, field.name) for view, fields in self.views for field in fields]
