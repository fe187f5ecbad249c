"""The version that answers: loaded and warmed beside the old one, then put in its place by one assignment."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from bento.lookup import Group, groups_of, model_column
from mosaic_resources.bentos.model_folder import read_model_folder
from mosaic_resources.bentos.on_demand import OnDemandFunction, checked_features, load_on_demand
from mosaic_resources.bentos.scoring import Scorer
from mosaic_resources.bentos.specification import (
    ASKED_AT,
    SPECIFICATION_FILE,
    ServiceSpecification,
    read_specification,
)
from mosaic_resources.errors import UserError
from mosaic_resources.online.blob import Column, decode, rows_of

__all__ = ["Version", "active_bento", "load_version", "served_folder"]

MODEL_FOLDER = "model"


@dataclass(frozen=True)
class Version:
    """Everything that answers a request, immutable; a request keeps the one it began with.

    Args:
        tag: Tag of the Bento.
        specification: What the service needs.
        groups: Reads of the online store.
        on_demand: The user's function, if there is one.
        scorer: The model.
    """

    tag: str
    specification: ServiceSpecification
    groups: tuple[Group, ...]
    on_demand: OnDemandFunction | None
    scorer: Scorer

    @property
    def threshold(self) -> float:
        """Probability from which on the label is 1."""
        return self.scorer.folder.identity.threshold

    def probabilities(
        self, request: Mapping[str, npt.NDArray[Any]], looked_up: Mapping[str, Column], num_rows: int, at_us: int
    ) -> npt.NDArray[np.float32]:
        """Returns the probability of each row, (rows,) float32.

        Raises:
            OnDemandError: The on-demand function failed.
            ScoringError: The model failed.
        """
        columns = {**request, ASKED_AT: np.full(num_rows, np.datetime64(at_us, "us"))}
        columns |= {name: model_column(column) for name, column in looked_up.items()}
        on_demand = self.specification.on_demand
        if self.on_demand is not None and on_demand is not None:
            columns |= checked_features(self.on_demand, columns, on_demand.features, num_rows)
        return self.scorer.score(columns)


def served_folder(bento: Path) -> Path:
    """Returns the folder in a Bento that holds specification, model and on-demand file."""
    return bento / "src" / "served"


def active_bento(active: Path) -> tuple[str, Path]:
    """Returns tag and folder of the Bento that ``active.json`` names.

    Raises:
        UserError: The file is missing or damaged.
    """
    try:
        named = orjson.loads(active.read_bytes())
        return str(named["bento_tag"]), (active.parent / named["path"]).resolve()
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise UserError(f"It does not name a Bento: {exc}.", str(active), "Build the service again.") from exc


def load_version(tag: str, bento: Path) -> Version:
    """Returns a version that has answered once already, so its first request is not slow.

    Raises:
        UserError: The Bento is damaged, or its parts do not fit each other.
    """
    folder = served_folder(bento)
    specification = read_specification(folder / SPECIFICATION_FILE)
    model = read_model_folder(folder / MODEL_FOLDER)
    absent = [column for column in model.columns if column not in specification.columns]
    if absent:
        raise UserError(
            f"The model reads '{absent[0]}', which no request field, view or on-demand file gives.", str(folder)
        )
    named = specification.on_demand
    function = load_on_demand(folder / named.file, named.sha256) if named else None
    version = Version(tag, specification, groups_of(specification), function, Scorer(model))
    _warm(version)
    return version


def _warm(version: Version) -> None:
    """Sends one row of an unknown entity through look-up, encoding and graph; its answer does not matter."""
    looked_up: dict[str, Column] = {}
    for group in version.groups:
        looked_up |= decode(group.layout, rows_of(group.layout, [None]), 0, group.ttl_us)
    columns = {name: model_column(column) for name, column in looked_up.items()}
    encoding = version.scorer.folder.encoding
    unknown = {name: np.full(1, np.nan) for name in encoding.numeric} | {
        name: np.full(1, None, object) for name in encoding.categorical
    }
    columns = {**unknown, **columns}
    version.scorer.score(columns)
