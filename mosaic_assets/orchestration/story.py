"""Plays a story on its simulated clock: history lands, a model is served, months arrive, the loop closes.

Everything goes through the project's own assets; this file only turns the clock, asks questions and waits.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import dagster as dg
import pyarrow as pa
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from mosaic_assets.features.views import FeatureService
from mosaic_assets.orchestration.run import load_definitions, materialize, num_steps
from mosaic_assets.orchestration.selection import select
from mosaic_assets.orchestration.ticker import Ticker
from mosaic_resources.dagster import MosaicResource
from mosaic_resources.errors import UserError
from mosaic_resources.seams import Seams
from mosaic_resources.settings.clock import set_simulated_clock

if TYPE_CHECKING:
    from mosaic_assets.datasets.component import DatasetComponent

Kind = TypeVar("Kind", bound=dg.Component)

__all__ = ["Progress", "Script", "Stage", "load_script", "month_after"]


class Small(BaseModel):
    """What differs in the small story."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    history: tuple[str, str]
    requests: int
    environment: dict[str, str] = {}


class Script(BaseModel):
    """``demo.yaml``: which assets each chapter makes, and which months arrive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    history: tuple[str, str]
    arriving: tuple[str, ...]
    requests: int
    small: Small
    dataset: str
    service: str
    model: str
    monitor: str
    requests_sql: str
    request_id: str
    assets: dict[str, tuple[str, ...]]

    def shrunk(self) -> "Script":
        """Returns the small story."""
        return self.model_copy(update={"history": self.small.history, "requests": self.small.requests})


@dataclass
class Progress:
    """How far the story has come; kept in a file, so that an interrupted one goes on.

    Args:
        file: Where it is kept.
        small: Whether it is the small story.
        done: Finished chapters → seconds that each took.
        facts: What the chapters found, for the summary.
    """

    file: Path
    small: bool
    done: dict[str, float] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path, small: bool) -> "Progress":
        """Returns the progress so far.

        Raises:
            UserError: The folder holds the other size of the story.
        """
        if not file.exists():
            return cls(file, small)
        kept = json.loads(file.read_text())
        if kept["small"] != small:
            other = "small" if kept["small"] else "full"
            raise UserError(f"This project already holds the {other} story.", str(file.parent), "Run make clean first.")
        return cls(file, small, kept["done"], kept["facts"])

    def finish(self, chapter: str, seconds: float, facts: Mapping[str, Any]) -> None:
        """Records a finished chapter."""
        self.done[chapter] = round(seconds, 2)
        self.facts.update(facts)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        draft = self.file.with_suffix(".draft")
        kept = {name: value for name, value in asdict(self).items() if name != "file"}
        draft.write_text(json.dumps(kept, default=str))
        draft.replace(self.file)


class Stage:
    """What the chapters act on.

    Args:
        root: The project.
        folder: Folder of the story, with its demo.yaml.
        script: The story.
        instance: Dagster's instance.
    """

    def __init__(self, root: Path, folder: Path, script: Script, instance: dg.DagsterInstance) -> None:
        self.root, self.folder, self.script, self.instance = root, folder, script, instance
        os.environ.update(script.small.environment if script.history == script.small.history else {})
        self.defs = load_definitions(root)

    @property
    def seams(self) -> Seams:
        """The seams that the steps themselves use."""
        return MosaicResource(project_root=str(self.root)).seams

    def set_clock(self, now: datetime) -> None:
        """Turns the simulated clock."""
        set_simulated_clock(self.seams.settings.state, now)

    def num_steps(self, *chapters: str) -> int:
        """Returns the number of steps that make the assets of chapters; a chapter named twice counts twice."""
        return sum(num_steps(self.defs, select(self.defs, self.script.assets[chapter])) for chapter in chapters)

    def make(self, chapter: str, months: tuple[str, str] | None = None, ticker: Ticker | None = None) -> int:
        """Materializes the assets of a chapter in order and returns how many; partitioned ones for ``months``."""
        graph = self.defs.resolve_asset_graph()
        keys = select(self.defs, self.script.assets[chapter])
        for group, partitioned in _runs(
            keys, lambda key: graph.get(dg.AssetKey(key.split("/"))).partitions_def is not None
        ):
            materialize(self.defs, self.instance, group, partitions=months if partitioned else None, ticker=ticker)
        return len(keys)

    @property
    def environment(self) -> dict[str, str]:
        """What the story's child processes need to know."""
        from mosaic_assets.orchestration.home import dagster_environment

        return dagster_environment(self.seams.settings.state)

    @cached_property
    def _tree(self) -> dg.ComponentTree:
        return dg.ComponentTree.for_project(self.root)

    def dataset(self) -> "DatasetComponent":
        """Returns the story's dataset as it is declared."""
        from mosaic_assets.datasets.component import DatasetComponent

        return next(one for one in self.components(DatasetComponent) if one.name == self.script.dataset)

    def components(self, kind: type[Kind]) -> list[Kind]:
        """Returns the project's components of a kind."""
        return list(self._tree.get_all_components(of_type=kind))

    def prediction_tables(self) -> list[str]:
        """Returns the tables of batch predictions that exist."""
        from mosaic_assets.predictions.component import BatchPredictionComponent

        return [one.key for one in self.components(BatchPredictionComponent) if self.seams.lake.exists(one.key)]

    def feature_service(self) -> FeatureService:
        """Returns the feature service of the story's dataset."""
        from mosaic_assets.features.component import feature_service_of

        return feature_service_of(self._tree, self.dataset().feature_service)

    @property
    def _log(self) -> str:
        return f"predictions/{self.script.service}_requests"

    def num_logged(self) -> int:
        """Returns the number of requests in the inference table, refused ones included."""
        return self.seams.lake.num_rows(self._log) if self.seams.lake.exists(self._log) else 0

    def answered(self) -> list[str]:
        """Returns the ids of the requests that were answered, oldest first.

        A client that is killed while it sends leaves a torn request behind: it is refused and logged, not answered.
        """
        if not self.seams.lake.exists(self._log):
            return []
        rows = self.seams.lake.read(
            self._log, columns=["request_id", "timestamp_ms"], filters=[("status_code", "==", 200)]
        )
        return [str(one) for one in rows.sort_by("timestamp_ms")["request_id"].to_pylist()]

    def request_rows(self, month: str) -> pa.Table:
        """Returns everything that could be asked about in a month, by the story's ``requests_sql``."""
        from mosaic_assets.tables.query import tables_in
        from mosaic_assets.tables.transforms import run_sql

        query, lake = (self.folder / self.script.requests_sql).read_text(), self.seams.lake
        versions = {table: lake.open(table).version() for table in tables_in(query)}
        parameters = {"partition_key_start": month, "partition_key_end": month}
        return run_sql(self.seams.engine.session(), lake, query, versions, parameters).toArrow()


def load_script(file: Path, *, small: bool) -> Script:
    """Returns the story in a ``demo.yaml``.

    Raises:
        UserError: It is missing or malformed.
    """
    try:
        script = Script.model_validate(yaml.safe_load(file.read_text()))
    except OSError as exc:
        raise UserError(f"There is no story here: {exc.strerror}.", str(file)) from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        raise UserError(f"'{'.'.join(map(str, first['loc']))}': {first['msg']}.", str(file)) from exc
    return script.shrunk() if small else script


def month_after(month: str) -> datetime:
    """Returns the first instant after a month ``2013-07``, UTC."""
    year, number = map(int, month.split("-"))
    return datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)


def _runs(keys: Sequence[str], partitioned: Callable[[str], bool]) -> list[tuple[list[str], bool]]:
    """Returns neighbours that are alike in being partitioned as one run."""
    runs: list[tuple[list[str], bool]] = []
    for key in keys:
        if runs and runs[-1][1] == partitioned(key):
            runs[-1][0].append(key)
        else:
            runs.append(([key], partitioned(key)))
    return runs
