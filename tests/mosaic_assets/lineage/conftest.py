"""A small story told to an outbox: files → raw → tables (by month) → view → dataset → model → Bento → endpoint."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from mosaic_assets.lineage.names import bento_use, landed_file_use, model_version_use, table_dataset
from mosaic_assets.lineage.record import DatasetUse, StepIdentity
from mosaic_assets.lineage.step import Step, step
from mosaic_resources.outbox.outbox import Outbox

NOW = datetime(2013, 7, 1, tzinfo=UTC)
TRACKING = "sqlite:////state/mlflow.db"
FIELDS = [("tailnum", "string"), ("dep_delay", "double")]


def identity(asset: str, run: str = "run", partition: str | None = None, **more: object) -> StepIdentity:
    return StepIdentity(run, asset, partition, more.get("start"), more.get("end"), "code-1")  # type: ignore[arg-type]


def table(key: str, version: int, rows: int | None = None) -> DatasetUse:
    uri = f"file:///lake/{key}"
    return DatasetUse(*table_dataset(uri), str(version), FIELDS, uri, rows, key)


def made(
    outbox: Outbox,
    asset: str,
    reads: Sequence[DatasetUse],
    wrote: DatasetUse,
    partition: str | None = None,
    run: str = "run",
) -> Step:
    with step(identity(asset, run, partition), outbox, clock=lambda: NOW) as said:
        for use in reads:
            said.reads(use)
        said.wrote(wrote)
    return said


def model(version: int) -> DatasetUse:
    return model_version_use(
        TRACKING, "delay", version, run_id=f"mlflow-{version}", manifest_id="m-1", metrics={"auc": 0.77}
    )


def bento(version: int) -> DatasetUse:
    return bento_use(f"delay:b{version}", "delay", version, f"/bentos/{version}", asset_key="services/delay")


def tell(outbox: Outbox) -> None:
    """Tells the story: two months land, then a third, after the model was trained."""
    for version, month in enumerate(("05", "06", "07")):
        if month == "07":
            made(outbox, "models/delay", [table("datasets/delay", 0)], model(1), run="train")
            made(outbox, "services/delay", [model(1)], bento(1), run="build")
        made(
            outbox,
            "raw/flights",
            [landed_file_use(f"/landing/2013-{month}.csv")],
            table("raw/flights", version),
            run=month,
        )
        made(outbox, "raw/flights", [], table("raw/flights", version), run=f"{month}-again")
        by_month = table("tables/flights", version, rows=10)
        made(outbox, "tables/flights", [table("raw/flights", version)], by_month, f"2013-{month}", run=month)
        made(outbox, "features/aircraft", [by_month], table("features/aircraft", version), run=month)
        dataset = table("datasets/delay", version)
        made(outbox, "datasets/delay", [by_month, table("features/aircraft", version)], dataset, run=month)
        if month == "05":
            with step(identity("datasets/delay", "broken"), outbox, clock=lambda: NOW):
                pass


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "state" / "outbox.db")


@pytest.fixture
def story() -> SimpleNamespace:
    return SimpleNamespace(tell=tell, made=made, identity=identity, table=table, model=model, bento=bento, now=NOW)


@pytest.fixture
def story_queries() -> dict[str, str]:
    import mosaic_assets

    folder = Path(mosaic_assets.__file__).parent / "defs" / "flights"
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*.sql")}
