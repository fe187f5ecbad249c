"""What ``mosaic status`` says of incidents and of the state folder."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mosaic_assets.cli.disk import disk_use
from mosaic_assets.cli.init import make_project
from mosaic_assets.cli.status import collect
from mosaic_assets.monitors.incident_log import append_events
from mosaic_assets.monitors.incidents import Event, Observation, Policy, acknowledge, observe
from mosaic_resources.seams import Seams


@pytest.fixture
def seams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seams:
    for name in ("MOSAIC_STATE", "MOSAIC_LAKE"):
        monkeypatch.delenv(name, raising=False)
    make_project(tmp_path / "told")
    return Seams.of(tmp_path / "told")


def month(number: int) -> datetime:
    return datetime(2013, number, 1, tzinfo=UTC)


def test_incident_is_open_since_it_was_opened(seams: Seams) -> None:
    def watch(number: int, score: float) -> None:
        def decide(log: Sequence[Event]) -> list[Event]:
            seen = Observation("trips/drift", month(number), "b1", score)
            return observe(log, seen, Policy(), month(number + 1))

        append_events(seams.lake, "trips", decide)

    for number, score in ((5, 0.5), (6, 0.0), (7, 0.5), (8, 0.4), (9, 0.07)):  # opened twice, closed between
        watch(number, score)
    append_events(seams.lake, "trips", lambda log: acknowledge(log, "trips/drift", "me", month(11)))
    (told,) = collect(seams)["incidents"]
    assert (told["incident"], told["state"]) == ("trips/drift@2", "acknowledged")
    assert (told["since"], told["evaluated"]) == (month(8).isoformat(), month(10).isoformat())


def test_size_of_the_state_folder_is_what_it_takes(seams: Seams) -> None:
    assert disk_use(seams.settings.state) == 0
    (seams.settings.state / "deep").mkdir(parents=True)
    (seams.settings.state / "deep" / "file").write_bytes(b"x" * 1_000_000)
    told = collect(seams)
    assert told["state"] == str(seams.settings.state)
    assert 1_000_000 <= told["state_bytes"] < 1_100_000
