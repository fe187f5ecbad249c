"""Names of datasets, and secrets kept out of them."""

from pathlib import Path

import pytest

from mosaic_assets.lineage.names import (
    bento_use,
    endpoint_use,
    landed_file_use,
    mlflow_namespace,
    request_log_use,
    table_dataset,
)
from mosaic_assets.lineage.redact import clean_uri, redact


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("file:///lake/tables/flights", ("file", "/lake/tables/flights")),
        ("/lake/tables/flights", ("file", "/lake/tables/flights")),
        ("relative/x", ("file", str(Path("relative/x").absolute()))),
        ("file://host/share/x", ("file://host", "/share/x")),
        ("s3://bucket/lake/flights/", ("s3://bucket", "lake/flights")),
        ("s3://key:secret@bucket/x", ("s3://bucket", "x")),
        ("gs://bucket", ("gs://bucket", "/")),
        (
            "abfss://container@account.dfs.core.windows.net/a/b",
            ("abfss://container@account.dfs.core.windows.net", "a/b"),
        ),
    ],
)
def test_table_dataset(uri: str, named: tuple[str, str]) -> None:
    assert table_dataset(uri) == named


@pytest.mark.parametrize(
    ("address", "namespace"),
    [
        ("http://user:secret@mlflow:5000/base", "mlflow://mlflow:5000"),
        ("https://mlflow.example", "mlflow://mlflow.example"),
        ("sqlite:////state/mlflow.db", "mlflow://sqlite//state/mlflow.db"),
        ("postgresql://me:secret@db/mlflow", "mlflow://postgresql/mlflow"),
    ],
)
def test_mlflow_namespace_has_no_secret(address: str, namespace: str) -> None:
    assert mlflow_namespace(address) == namespace


def test_uses_of_what_is_no_table() -> None:
    assert bento_use("delay:b1", "delay", 3).version == "b1"
    endpoint = endpoint_use("delay", "http://me:secret@127.0.0.1:8000/x", "delay:b1", 3)
    assert endpoint.facets["mosaic_endpoint"]["url"] == "http://127.0.0.1:8000"
    assert request_log_use("/state/spool", "delay").name == "/state/spool/delay"
    assert landed_file_use("s3://bucket/landing/x.csv").key == ("s3://bucket", "landing/x.csv")


def test_redact_takes_secrets_out() -> None:
    env = {"MY_TOKEN": "abcdef", "SHORT_KEY": "ab", "HARMLESS": "banana"}
    assert redact("abcdef ab banana https://u:p@h/x authorization: Basic dXNlcjpwYXNz", env) == (
        "*** ab banana https://***@h/x authorization: Basic ***"
    )
    assert clean_uri("https://u:p@h:1/x?sig=1#f") == "https://h:1/x"
    assert clean_uri("models:/delay/3") == "models:/delay/3"
