"""Our own OpenLineage facets: what the standard ones cannot say of a step, a dataset, a model or an incident.

Each class has its JSON schema in ``schemas/<class>.json``, which ships with the package; a test holds both
together and validates every event against them. Values are given by the names in the schema.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attr
from openlineage.client.facet_v2 import BaseFacet, DatasetFacet, RunFacet, dataset_type_dataset

from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["DATASET_FACETS", "PRODUCER", "RUN_FACETS", "SCHEMAS", "SCHEMA_HOME", "make_facet"]

SCHEMAS = Path(__file__).parent / "schemas"
# The project has no public address yet, and `.invalid` never resolves (RFC 2606): this line changes once it has one.
PRODUCER = "https://mosaic-assets.invalid"
SCHEMA_HOME = f"{PRODUCER}/lineage/schemas/1-0-0"


def _schema(name: str) -> str:
    return f"{SCHEMA_HOME}/{name}.json#/$defs/{name}"


@attr.define
class MosaicStepRunFacet(RunFacet):
    """The step: which asset and partition, by which code."""

    assetKey: str  # noqa: N815
    dagsterRunId: str  # noqa: N815
    codeVersion: str  # noqa: N815
    partition: str | None = None

    @staticmethod
    def _get_schema() -> str:
        return _schema("MosaicStepRunFacet")


@attr.define
class MosaicPromotionRunFacet(RunFacet):
    """A decision about a challenger, and why."""

    registeredModelName: str  # noqa: N815
    challenger: str
    verdict: str
    reasons: list[str]
    champion: str | None = None

    @staticmethod
    def _get_schema() -> str:
        return _schema("MosaicPromotionRunFacet")


@attr.define
class MosaicAssetDatasetFacet(DatasetFacet):
    """The asset that a dataset is made by."""

    assetKey: str  # noqa: N815

    @staticmethod
    def _get_schema() -> str:
        return _schema("MosaicAssetDatasetFacet")


@attr.define
class MosaicManifestDatasetFacet(DatasetFacet):
    """A training dataset, pinned by its manifest."""

    manifestId: str  # noqa: N815
    rowHash: str  # noqa: N815
    featureService: str  # noqa: N815
    cutoff: str
    rowsBySplit: dict[str, int]  # noqa: N815
    tables: dict[str, int]

    @staticmethod
    def _get_schema() -> str:
        return _schema("MosaicManifestDatasetFacet")


@attr.define
class MosaicFeatureViewDatasetFacet(DatasetFacet):
    """A feature view: its entities, its times, its definition's hash."""

    view: str
    entities: list[str]
    timestampField: str  # noqa: N815
    createdTimestampColumn: str | None = None  # noqa: N815
    ttlSeconds: float | None = None  # noqa: N815
    definitionHash: str | None = None  # noqa: N815

    @staticmethod
    def _get_schema() -> str:
        return _schema("MosaicFeatureViewDatasetFacet")


@attr.define
class MosaicModelDatasetFacet(DatasetFacet):
    """A registered model version: its run, the manifest it was trained on, its metrics."""

    registeredModelName: str  # noqa: N815
    version: str
    runId: str  # noqa: N815
    manifestId: str | None = None  # noqa: N815
    metrics: dict[str, float] = attr.field(factory=dict)
    aliases: list[str] = attr.field(factory=list)

    @staticmethod
    def _get_schema() -> str:
        return _schema("MosaicModelDatasetFacet")


@attr.define
class MosaicServiceDatasetFacet(DatasetFacet):
    """A Bento and the model version that it carries."""

    bentoTag: str  # noqa: N815
    registeredModelName: str  # noqa: N815
    modelVersion: str  # noqa: N815

    @staticmethod
    def _get_schema() -> str:
        return _schema("MosaicServiceDatasetFacet")


@attr.define
class MosaicEndpointDatasetFacet(DatasetFacet):
    """A running endpoint and what it serves."""

    service: str
    bentoTag: str  # noqa: N815
    modelVersion: str  # noqa: N815
    url: str

    @staticmethod
    def _get_schema() -> str:
        return _schema("MosaicEndpointDatasetFacet")


@attr.define
class MosaicIncidentDatasetFacet(DatasetFacet):
    """An incident of a monitor."""

    incident: str
    epoch: int
    state: str
    severity: str
    metric: str
    openedAt: str  # noqa: N815
    column: str | None = None
    value: float | None = None
    threshold: float | None = None

    @staticmethod
    def _get_schema() -> str:
        return _schema("MosaicIncidentDatasetFacet")


RUN_FACETS: Mapping[str, type[RunFacet]] = {
    "mosaic_step": MosaicStepRunFacet,
    "mosaic_promotion": MosaicPromotionRunFacet,
}
DATASET_FACETS: Mapping[str, type[DatasetFacet]] = {
    "datasetType": dataset_type_dataset.DatasetTypeDatasetFacet,
    "mosaic_asset": MosaicAssetDatasetFacet,
    "mosaic_manifest": MosaicManifestDatasetFacet,
    "mosaic_featureView": MosaicFeatureViewDatasetFacet,
    "mosaic_model": MosaicModelDatasetFacet,
    "mosaic_service": MosaicServiceDatasetFacet,
    "mosaic_endpoint": MosaicEndpointDatasetFacet,
    "mosaic_incident": MosaicIncidentDatasetFacet,
}


def make_facet(name: str, values: Mapping[str, object], known: Mapping[str, type[Any]]) -> BaseFacet:
    """Returns a facet of ``known`` by its name in the event.

    Raises:
        UnknownNameError: There is no facet of the name.
        UserError: The values are not those of the facet's schema.
    """
    if name not in known:
        raise UnknownNameError("lineage facet", name, known)
    try:
        facet: BaseFacet = known[name](**values)
    except TypeError as exc:
        raise UserError(f"The values do not fit: {exc}.", f"facet {name}") from exc
    return facet
