"""Names of datasets, by OpenLineage's naming rules where they have one.

A dataset is a namespace (the system) and a name in it; its version stands apart, so that one dataset keeps its
name for life. Credentials never become part of a name.

Source: https://openlineage.io/docs/spec/naming
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from mosaic_assets.lineage.record import DatasetUse
from mosaic_resources.online.address import shown_address

__all__ = [
    "bento_use",
    "database_uses",
    "endpoint_use",
    "fold_files",
    "landed_file_use",
    "landed_folder_use",
    "mlflow_namespace",
    "model_version_use",
    "online_use",
    "request_log_use",
    "table_dataset",
]


def table_dataset(uri: str) -> tuple[str, str]:
    """Returns the namespace and name of the table or file at an address or local path.

    Example:
        >>> table_dataset("file:///lake/tables/flights"), table_dataset("s3://bucket/lake/flights")
        (('file', '/lake/tables/flights'), ('s3://bucket', 'lake/flights'))
    """
    parts = urlsplit(uri)
    if "://" not in uri or (parts.scheme == "file" and not parts.netloc):
        path = parts.path if "://" in uri else uri
        return "file", str(Path(path).absolute())
    if parts.scheme in ("abfs", "abfss"):  # container@account: no credential
        return f"{parts.scheme}://{parts.netloc}", parts.path.strip("/") or "/"
    name = parts.path if parts.scheme == "file" else parts.path.strip("/")
    return f"{parts.scheme}://{_host(uri)}", name or "/"


def landed_file_use(path: Path | str) -> DatasetUse:
    """Returns the record of one landed file."""
    namespace, name = table_dataset(str(path))
    uri = str(path) if "://" in str(path) else f"file://{name}"
    return DatasetUse(namespace, name, uri=uri, facets={"datasetType": {"datasetType": "FILE"}})


def database_uses(origin: str, query: str, table: str | None = None) -> list[DatasetUse]:
    """Returns the records of the tables of a database that a query reads; the database itself where none is told.

    Args:
        origin: Address without a credential, ``postgresql://db:5432/shop``.
        query: The query in the database's own SQL.
        table: The table, where it is read whole.

    Example:
        >>> [use.key for use in database_uses("postgresql://db:5432/shop", "select 1 from sales.orders o")]
        [('postgres://db:5432', 'shop.sales.orders')]
    """
    import sqlglot
    from sqlglot import exp

    parts = urlsplit(origin)
    scheme = parts.scheme.partition("+")[0]
    dialect = {"postgresql": "postgres", "mariadb": "mysql", "mssql": "tsql"}.get(scheme, scheme)
    database = parts.path.strip("/")
    names = [table] if table else []
    if not names:
        try:
            tree = sqlglot.parse_one(query, dialect=dialect)
            local = {one.alias for one in tree.find_all(exp.CTE)}
            found = (".".join(part.name for part in one.parts) for one in tree.find_all(exp.Table))
            names = [name for name in dict.fromkeys(found) if name not in local]
        except (sqlglot.errors.SqlglotError, ValueError):
            names = []  # A query of a dialect that is not understood: the database alone is told.
    namespace = f"{dialect}://{parts.netloc}" if parts.netloc else dialect
    return [DatasetUse(namespace, f"{database}.{name}", uri=origin) for name in names] or [
        DatasetUse(namespace, database, uri=origin)
    ]


def fold_files(uses: Sequence[DatasetUse], limit: int) -> list[DatasetUse]:
    """Returns the uses with landed files replaced by their folders, where there are more files than ``limit``.

    The table itself says of each row which file it came from (``_source_file``).
    """
    files = [use for use in uses if _is_file(use)]
    if len(files) <= limit:
        return list(uses)
    folders = dict.fromkeys(str(Path(use.name).parent) for use in files)
    return [use for use in uses if not _is_file(use)] + [_folder_use(files[0].namespace, folder) for folder in folders]


def landed_folder_use(path: Path | str) -> DatasetUse:
    """Returns the record of a folder that was looked into, where no single file is named."""
    return _folder_use(*table_dataset(str(path)))


def _folder_use(namespace: str, name: str) -> DatasetUse:
    return DatasetUse(namespace, name, facets={"datasetType": {"datasetType": "FILE", "subType": "FOLDER"}})


def _is_file(use: DatasetUse) -> bool:
    return use.facets.get("datasetType", {}).get("datasetType") == "FILE"


def mlflow_namespace(tracking_uri: str) -> str:
    """Returns the namespace of an MLflow server or of the file that stands for one."""
    parts = urlsplit(tracking_uri)
    if parts.scheme in ("http", "https"):
        return f"mlflow://{_host(tracking_uri)}"
    return f"mlflow://{parts.scheme or 'file'}{parts.path or tracking_uri}"


def model_version_use(
    tracking_uri: str,
    registered_model_name: str,
    version: int | str,
    *,
    run_id: str,
    manifest_id: str = "",
    metrics: Mapping[str, float] | None = None,
    asset_key: str = "",
) -> DatasetUse:
    """Returns the record of a registered model version.

    Args:
        tracking_uri: MLflow's address.
        registered_model_name: Name in the registry.
        version: Version in the registry.
        run_id: MLflow run that made it.
        manifest_id: Dataset manifest that it was trained on.
        metrics: Its metrics.
        asset_key: Asset that makes it.
    """
    values = {
        "registeredModelName": registered_model_name,
        "version": str(version),
        "runId": run_id,
        "manifestId": manifest_id or None,
        "metrics": dict(metrics or {}),
    }
    return DatasetUse(
        mlflow_namespace(tracking_uri),
        registered_model_name,
        version=str(version),
        uri=f"models:/{registered_model_name}/{version}",
        asset_key=asset_key,
        facets={"mosaic_model": values, "datasetType": {"datasetType": "MODEL"}},
    )


def bento_use(
    tag: str, registered_model_name: str, model_version: int | str, path: str = "", asset_key: str = ""
) -> DatasetUse:
    """Returns the record of a Bento, ``service:version``, and the model version that it carries."""
    service, _, version = tag.partition(":")
    values = {"bentoTag": tag, "registeredModelName": registered_model_name, "modelVersion": str(model_version)}
    uri = f"file://{Path(path).absolute()}" if path else ""
    return DatasetUse(
        "bentoml", service, version or None, uri=uri, asset_key=asset_key, facets={"mosaic_service": values}
    )


def endpoint_use(service: str, url: str, bento_tag: str, model_version: int | str, asset_key: str = "") -> DatasetUse:
    """Returns the record of a running endpoint; its version is that of the Bento that it serves."""
    values = {
        "service": service,
        "bentoTag": bento_tag,
        "modelVersion": str(model_version),
        "url": f"http://{_host(url)}",
    }
    version = bento_tag.partition(":")[2] or bento_tag
    return DatasetUse(
        "mosaic-endpoint", service, version, uri=url, asset_key=asset_key, facets={"mosaic_endpoint": values}
    )


def online_use(address: str, feature_service: str, version: str, asset_key: str = "") -> DatasetUse:
    """Returns the record of a feature service's rows in the online store; its version is the run that wrote them."""
    address = shown_address(address)
    namespace, name = table_dataset(address)
    return DatasetUse(namespace, f"{name}/{feature_service}", version, uri=address, asset_key=asset_key)


def request_log_use(spool: Path | str, service: str) -> DatasetUse:
    """Returns the record of the spool that a service logs its requests to."""
    return landed_file_use(Path(spool) / service)


def _host(uri: str) -> str:
    """Returns host and port without a user or password."""
    return urlsplit(uri).netloc.rpartition("@")[2]
