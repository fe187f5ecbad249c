"""What a service needs to answer: written when a Bento is built, read by the runtime. JSON."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mosaic_resources.errors import UserError
from mosaic_resources.online.layout import BlobLayout, FieldLayout, ViewLayout

__all__ = [
    "ASKED_AT",
    "SPECIFICATION_FILE",
    "Lookup",
    "LookupField",
    "LookupView",
    "ModelIdentity",
    "OnDemand",
    "RequestField",
    "ServiceSpecification",
    "read_specification",
]

SPECIFICATION_FILE = "specification.json"
# The request's time, beside its fields; training knows it under the same name.
ASKED_AT = "asked_at"
Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)]
RequestType = Literal["string", "int64", "float64", "timestamp"]
Dtype = Literal["int64", "float64", "bool", "timestamp", "string"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RequestField(_Strict):
    """A key that each request carries. ``nullable``: whether it may be null; it may never be left out."""

    name: Name
    type: RequestType
    nullable: bool = False


class LookupField(_Strict):
    """A looked-up feature and the bytes it takes online."""

    name: str
    dtype: Dtype
    width: int = 8


class LookupView(_Strict):
    """A view's features. ``ttl_us``: time to live in microseconds; None: for ever."""

    name: str
    ttl_us: int | None = Field(None, ge=0)
    fields: tuple[LookupField, ...]


class Lookup(_Strict):
    """One group of views with equal join keys: one blob, one read."""

    group: str
    join_keys: tuple[str, ...]
    schema_id: str = Field(description="Hex; must equal the layout's own.")
    views: tuple[LookupView, ...]

    def layout(self, feature_service: str) -> BlobLayout:
        """Returns the layout of the group's blobs."""
        views = tuple(
            ViewLayout(view.name, tuple(FieldLayout(f.name, f.dtype, f.width) for f in view.fields))
            for view in self.views
        )
        return BlobLayout(feature_service, self.join_keys, views)

    @property
    def ttl_us(self) -> dict[str, int | None]:
        """View → time to live in microseconds."""
        return {view.name: view.ttl_us for view in self.views}


class OnDemand(_Strict):
    """The user's file that computes features, by hash."""

    file: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    features: tuple[str, ...]


class ModelIdentity(_Strict):
    """Which model answers, and what made it."""

    registered_model_name: str
    version: str
    run_id: str = ""
    manifest_id: str = ""


class ServiceSpecification(_Strict):
    """Everything that the runtime knows of a service.

    Args:
        name: Name of the service.
        request: Fields of a request.
        feature_service: Name under which the features lie in the online store.
        lookups: Groups of features to look up.
        on_demand: Features computed from the request and the looked-up features.
        model: The model.
        label: Name of what is predicted.
        on_log_failure: ``refuse`` answers 503 when a request cannot be logged; ``answer`` counts it and answers.
        format_version: Format of this file.
    """

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
    request: tuple[RequestField, ...] = Field(min_length=1)
    feature_service: str = ""
    lookups: tuple[Lookup, ...] = ()
    on_demand: OnDemand | None = None
    model: ModelIdentity
    label: str
    on_log_failure: Literal["refuse", "answer"] = "refuse"
    format_version: Literal[1] = 1

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [field.name for field in self.request]
        if len(set(names)) < len(names) or ASKED_AT in names:
            raise ValueError(f"request fields must be unique and none may be called '{ASKED_AT}'")
        for lookup in self.lookups:
            unknown = [key for key in lookup.join_keys if key not in names]
            if unknown:
                raise ValueError(f"join key '{unknown[0]}' of group '{lookup.group}' is no request field")
            if lookup.layout(self.feature_service).schema_id.hex() != lookup.schema_id:
                raise ValueError(f"the schema id of group '{lookup.group}' does not match its fields")
        return self

    @property
    def columns(self) -> list[str]:
        """Every column that a request gives to the model's encoding."""
        looked_up = [f"{view.name}__{f.name}" for lookup in self.lookups for view in lookup.views for f in view.fields]
        computed = list(self.on_demand.features) if self.on_demand else []
        return [*(field.name for field in self.request), ASKED_AT, *looked_up, *computed]


def read_specification(file: Path) -> ServiceSpecification:
    """Returns the specification in a file.

    Raises:
        UserError: It cannot be read, or is not of this format.
    """
    try:
        return ServiceSpecification.model_validate_json(file.read_bytes())
    except OSError as exc:
        raise UserError(
            f"The specification cannot be read: {exc.strerror}.", str(file), "Build the service again."
        ) from exc
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "specification"
        raise UserError(f"'{place}': {first['msg']}.", str(file), "Build the service again with this version.") from exc
