"""One engine for the whole run; every test has a lake of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mosaic_resources.delta.lake import Lake
from mosaic_resources.delta.writers import DeltaRsWriter
from mosaic_resources.engine.sail import SailEngine
from mosaic_resources.engine.session import SessionHolder


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SessionHolder]:
    sail = SailEngine(tmp_path_factory.mktemp("engine"), memory_bytes=2 << 30, idle_seconds=2)
    holder = SessionHolder(sail)
    yield holder
    holder.close()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"), DeltaRsWriter())
