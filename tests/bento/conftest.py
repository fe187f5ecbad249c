"""A tiny story on a real online store, two real Bentos of it, and one endpoint process for the whole run."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from mosaic_assets.features.materialize import materialize
from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, FeatureView, Field
from mosaic_assets.services.build import build_service
from mosaic_resources.bentos import process
from mosaic_resources.bentos.build import BuiltBento
from mosaic_resources.bentos.encoding import Encoding
from mosaic_resources.bentos.fake import write_fake_model
from mosaic_resources.online.contract import make_online_store

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
LOCK = Path(__file__).parents[2] / "requirements.lock"
ON_DEMAND = """
import numpy as np

def features(inputs):
    if (inputs["flight"] == 13).any():
        raise ZeroDivisionError("secret of the model")
    ahead = (inputs["sched_dep"] - inputs["asked_at"]).astype("timedelta64[s]").astype(float) / 3600
    since = inputs["asked_at"] - inputs["aircraft__seen"]
    return {"hours_ahead": ahead, "hours_since": np.where(np.isnat(since), np.nan, since / np.timedelta64(1, "h"))}
"""
REQUEST = {"tailnum": "string", "origin": "string", "flight": "int64", "sched_dep": "timestamp"}
ENCODING = Encoding(("aircraft__delay", "hours_ahead", "hours_since", "weather__temp"), {"origin": ("JFK", "LGA")})
WEIGHTS = (0.01, 0.1, -0.1, 0.001, 0.2)


def views() -> list[FeatureView]:
    aircraft, airport = Entity("aircraft", ("tailnum",)), Entity("airport", ("origin",))
    fields = (Field("delay", "float64"), Field("seen", "timestamp"), Field("type", "string", 8))
    return [
        FeatureView("aircraft", (aircraft,), fields, "features/aircraft", ttl=timedelta(hours=36)),
        FeatureView("weather", (airport,), (Field("temp", "float64"),), "features/weather"),
    ]


SERVICE = FeatureService.of("delays", views(), [FeatureRef("aircraft", "*"), FeatureRef("weather", "*")])


def times(*values: datetime) -> pa.Array:
    return pa.array(values, pa.timestamp("us", tz="UTC"))


@dataclass(frozen=True)
class Story:
    """Where the parts lie."""

    root: Path
    bentos: tuple[BuiltBento, ...]
    service: FeatureService
    request: dict[str, str]

    @property
    def online(self) -> str:
        return str(self.root / "online")

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    def start(self, bento: int = 0, *, state: Path | None = None, spool: Path | None = None) -> process.Endpoint:
        return process.start(
            self.bentos[bento],
            state=state or self.root,
            service="flights",
            online=self.online,
            spool=spool or self.spool,
            simulated_clock=True,
        )


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    root = tmp_path_factory.mktemp("serving")
    hour = timedelta(hours=1)
    store = make_online_store(str(root / "online"))
    aircraft = {
        "tailnum": ["N1", "N2", "N3"],
        "event_ts": times(NOON - 2 * hour, NOON - 40 * hour, NOON - hour),
        "known_ts": times(NOON - hour, NOON - 39 * hour, NOON + hour),
        "delay": pa.array([30.0, 10.0, 20.0]),
        "seen": times(NOON - 3 * hour, NOON - 41 * hour, NOON - 2 * hour),
        "type": ["A320", "B737", "é"],
    }
    materialize(store, SERVICE, "aircraft", pa.table(aircraft))
    weather = {
        "origin": ["JFK"],
        "event_ts": times(NOON - hour),
        "known_ts": times(NOON),
        "temp": pa.array([None], pa.float64()),
    }
    materialize(store, SERVICE, "weather", pa.table(weather))
    store.close()
    on_demand = root / "features.py"
    on_demand.write_text(ON_DEMAND)
    bentos = []
    for version, bias in (("1", 0.0), ("2", 3.0), ("3", float("nan"))):
        write_fake_model(root / f"model-{version}", ENCODING, WEIGHTS, bias=bias, version=version, name="late")
        bentos.append(
            build_service(
                "flights", root / f"model-{version}", SERVICE, REQUEST,
                on_demand=on_demand, label="late", lock=LOCK, bentoml_home=root / "bentoml",
            )
        )  # fmt: skip
    return Story(root, tuple(bentos), SERVICE, REQUEST)


@pytest.fixture(scope="session")
def endpoint(story: Story) -> Iterator[process.Endpoint]:
    running = story.start()
    yield running
    process.stop(story.root, "flights")


@pytest.fixture(scope="session")
def client(endpoint: process.Endpoint) -> Iterator[httpx.Client]:
    headers = {"x-mosaic-time": NOON.isoformat()}
    with httpx.Client(base_url=endpoint.url, headers=headers, timeout=20, trust_env=False) as opened:
        yield opened


@pytest.fixture
def row() -> dict[str, object]:
    return {"tailnum": "N1", "origin": "JFK", "flight": 7, "sched_dep": "2013-07-01T14:00:00Z"}
