"""The Dagster face of services."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import dagster as dg
import pyarrow as pa
from pydantic import Field

from mosaic_assets.asset_fields import AssetFields
from mosaic_assets.catalogue import reference
from mosaic_assets.datasets.component import DatasetComponent
from mosaic_assets.features.component import feature_service
from mosaic_assets.features.views import FeatureService
from mosaic_assets.orchestration.station import station
from mosaic_assets.value_types import REQUEST_TYPES
from mosaic_assets.work import Made, Work, code_hash

__all__ = ["ANSWER", "ServiceComponent"]

ANSWER = (("probability", pa.float64()), ("label", pa.int64()))


class ServiceComponent(AssetFields, dg.Component, dg.Resolvable):
    """A Bento of the model that an alias names; an endpoint that runs switches to it without a failed request."""

    scaffolded = ("deps",)

    name: str = Field(description="Name of the service.", examples=["my_service"])
    dataset: str = Field(
        description="Dataset of the model, by name; it says what a request holds.", examples=["my_dataset"]
    )
    registered_model_name: str = Field(description="Name of the model in the registry.", examples=["my_model"])
    alias: Literal["champion", "challenger"] = Field("champion", description="Which of its versions answers.")
    on_log_failure: Literal["refuse", "answer"] = Field(
        "refuse", description="A request that cannot be logged: refuse it (503), or answer and count it."
    )
    deps: Sequence[str] = Field(
        (), description="Assets that decide what the alias names.", examples=[["models/my_model"]]
    )

    @property
    def key(self) -> str:
        """Key of the asset."""
        return f"services/{self.name}"

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Returns the asset of the service."""
        dataset = reference(context, DatasetComponent, self.dataset, "dataset")
        service = feature_service(context, dataset.feature_service)
        asset = station(
            self,
            key=self.key,
            station_name="services",
            kinds=("bentoml", "onnx"),
            deps=[*self.deps, f"online/{service.name}"],
            code=code_hash(
                "service", self.registered_model_name, self.alias, self.on_log_failure, service, dict(dataset.request)
            ),
            run=lambda work: self.execute(work, dataset, service),
        )
        return dg.Definitions(assets=[asset])

    def execute(self, work: Work, dataset: DatasetComponent, service: FeatureService) -> Made:
        """Builds the Bento and makes it the one that answers."""
        from mosaic_assets.lineage.names import bento_use, endpoint_use, model_version_use
        from mosaic_assets.services.build import build_service, service_lock
        from mosaic_assets.services.champion import aliased_model, on_demand_file
        from mosaic_resources.bentos.process import activate, own_address
        from mosaic_resources.online.address import packages_of

        settings = work.seams.settings
        aliased = aliased_model(work.seams, self.registered_model_name, self.alias, self.dataset)
        identity = aliased.model.identity
        work.lineage.reads(
            model_version_use(
                settings.mlflow_tracking_uri,
                identity.registered_model_name,
                identity.version,
                run_id=identity.run_id,
                manifest_id=identity.manifest_id,
            )
        )
        with tempfile.TemporaryDirectory(prefix="mosaic-service-") as scratch:
            built = build_service(
                self.name,
                aliased.model.path,
                service,
                dataset.request,
                on_demand=on_demand_file(aliased, Path(scratch)),
                label=dataset.label,
                lock=service_lock(settings.project_root),
                bentoml_home=settings.state / "bentoml",
                on_log_failure=self.on_log_failure,
                packages=packages_of(settings.online),
            )
        running = activate(built, state=settings.state, service=self.name)
        address = running.url if running else own_address(settings.state, self.name)
        work.lineage.wrote(
            bento_use(
                built.tag, identity.registered_model_name, identity.version, str(built.path), asset_key=work.asset
            )
        )
        if running is not None:
            work.lineage.wrote(endpoint_use(self.name, running.url, built.tag, identity.version, asset_key=work.asset))
        return Made(
            version=built.tag,
            schema=pa.schema([*((name, REQUEST_TYPES[kind]) for name, kind in dataset.request.items()), *ANSWER]),
            columns={name: [(f"online/{service.name}", column) for column in service.columns] for name, _ in ANSWER},
            preview=pa.table({"request": list(dataset.request), "type": list(dataset.request.values())}),
            address=str(built.path),
            metadata={
                "bento_tag": built.tag,
                "bento": dg.MetadataValue.path(str(built.path)),
                "requirements": built.requirements,
                "model": f"models:/{identity.registered_model_name}/{identity.version}",
                "model_version": identity.version,
                "mlflow_run_id": identity.run_id,
                "manifest_id": identity.manifest_id,
                "endpoint": dg.MetadataValue.url(f"{address}/v1/model"),
                "endpoint_state": "answers" if running else f"does not run; start it with: mosaic serve {self.name}",
            },
        )
