"""From a model folder and what it looks up to a Bento."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from mosaic_assets.features.materialize import layouts, ttl_us
from mosaic_assets.features.views import FeatureService
from mosaic_resources.bentos.build import BuiltBento, build_bento
from mosaic_resources.bentos.model_folder import ModelFolder, read_model_folder
from mosaic_resources.bentos.on_demand import file_sha256, load_on_demand
from mosaic_resources.bentos.specification import (
    ASKED_AT,
    Lookup,
    ModelIdentity,
    OnDemand,
    RequestField,
    ServiceSpecification,
)
from mosaic_resources.errors import UserError

__all__ = ["build_service", "lookups", "service_lock", "specify"]

ON_DEMAND_FILE = "on_demand.py"


def service_lock(project_root: Path) -> Path | None:
    """Returns the hash-locked requirements that the project keeps; None: what is installed is locked."""
    own = project_root / "requirements.lock"
    return own if own.is_file() else None


def lookups(service: FeatureService) -> tuple[Lookup, ...]:
    """Returns what an endpoint reads for each request of a feature service."""
    ttl = ttl_us(service)
    return tuple(
        Lookup.model_validate(
            {
                "group": layout.group,
                "join_keys": layout.join_keys,
                "schema_id": layout.schema_id.hex(),
                "views": [
                    {
                        "name": view.name,
                        "ttl_us": ttl[view.name],
                        "fields": [{"name": f.name, "dtype": f.dtype, "width": f.width} for f in view.fields],
                    }
                    for view in layout.views
                ],
            }
        )
        for layout in layouts(service)
    )


def specify(
    name: str,
    model: ModelFolder,
    service: FeatureService,
    request: Mapping[str, str],
    *,
    on_demand: Path | None,
    label: str,
    on_log_failure: Literal["refuse", "answer"] = "refuse",
) -> ServiceSpecification:
    """Returns the specification of a service.

    A column that the model reads and that is neither a request field nor looked up comes from the on-demand file.

    Args:
        name: Name of the service.
        model: The model.
        service: Features that the model was fitted on.
        request: Field → string, int64, float64 or timestamp.
        on_demand: The on-demand file; None without one.
        label: What is predicted.
        on_log_failure: What to do with a request that cannot be logged.

    Raises:
        UserError: The model reads a column that nothing gives, or a field does not fit.
    """
    given = {*request, ASKED_AT, *service.columns}
    computed = tuple(column for column in model.columns if column not in given)
    if computed and on_demand is None:
        raise UserError(
            f"The model reads '{computed[0]}', which no request field and no view gives.",
            f"service '{name}'",
            "Name the on-demand file.",
        )
    if on_demand is not None:
        load_on_demand(on_demand)
    identity = model.identity
    try:
        return ServiceSpecification(
            name=name,
            request=tuple(
                RequestField.model_validate({"name": field, "type": kind}) for field, kind in request.items()
            ),
            feature_service=service.name,
            lookups=lookups(service),
            on_demand=OnDemand(file=ON_DEMAND_FILE, sha256=file_sha256(on_demand), features=computed)
            if on_demand
            else None,
            model=ModelIdentity(
                registered_model_name=identity.registered_model_name,
                version=identity.version,
                run_id=identity.run_id,
                manifest_id=identity.manifest_id,
            ),
            label=label,
            on_log_failure=on_log_failure,
        )
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "specification"
        raise UserError(f"'{place}': {first['msg']}.", f"service '{name}'") from exc


def build_service(
    name: str,
    model_folder: Path,
    service: FeatureService,
    request: Mapping[str, str],
    *,
    on_demand: Path | None,
    label: str,
    lock: Path | None,
    bentoml_home: Path,
    on_log_failure: Literal["refuse", "answer"] = "refuse",
    packages: Sequence[str] = (),
) -> BuiltBento:
    """Returns the Bento that answers with a model; see ``specify`` and ``mosaic_resources.bentos.build.build_bento``.

    Args:
        name: Name of the service.
        model_folder: The model's folder.
        service: Features that the model was fitted on.
        request: Field → string, int64, float64 or timestamp.
        on_demand: The on-demand file; None without one.
        label: What is predicted.
        lock: Hash-locked requirements of the project; None: what is installed here is locked.
        bentoml_home: Folder of the Bento store.
        on_log_failure: What to do with a request that cannot be logged.
        packages: Packages that it needs to reach its online store.
    """
    model = read_model_folder(model_folder)
    specification = specify(
        name, model, service, request, on_demand=on_demand, label=label, on_log_failure=on_log_failure
    )
    return build_bento(specification, model_folder, on_demand, lock=lock, bentoml_home=bentoml_home, packages=packages)
