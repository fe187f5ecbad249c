"""Each finding of the doctor, on a machine that lacks something."""

import os
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mosaic_assets.cli.doctor import examine
from mosaic_assets.cli.machine import Finding, disk, loopback, memory, python, require
from mosaic_assets.cli.main import app
from mosaic_assets.orchestration.up_record import own_ports, recorded
from mosaic_resources.errors import DependencyError
from mosaic_resources.outbox.outbox import NewEvent, Outbox
from mosaic_resources.settings.settings import load_settings


def verdicts(tmp_path: Path, env: dict[str, str] | None = None) -> dict[str, tuple[str, str]]:
    settings = load_settings(tmp_path, {"MOSAIC_STATE": str(tmp_path / "state"), **(env or {})})
    return {each.about: (each.verdict, each.text) for each in examine(settings, with_engine=False)}


def test_doctor_finds_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        try:
            other = socket.create_server(("127.0.0.1", 5000))
        except OSError:
            other = None  # somebody else holds it, which serves as well
        assert verdicts(tmp_path)["port 5000"] == ("note", "It is taken; MLflow gets another one.")
        if other:
            other.close()


def test_doctor_knows_the_ports_of_its_own_up(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with recorded(state, {"MLflow": f"http://127.0.0.1:{port}", "Far": "http://example.org:8000"}):
            said = f"MLflow of this project's 'mosaic up', process {os.getpid()}, listens there"
            assert verdicts(tmp_path)[f"port {port}"] == ("ok", said)
            assert list(own_ports(state)) == [port]
            (tmp_path / "copy").mkdir()
            (tmp_path / "copy" / "up.json").write_bytes((state / "up.json").read_bytes())
            assert own_ports(tmp_path / "copy") == {}
            left = (state / "up.json").read_text()
        assert f"port {port}" not in verdicts(tmp_path)
    (state / "up.json").write_text(left.replace(f'"pid": {os.getpid()}', '"pid": 1'))  # what a killed one leaves
    assert own_ports(state) == {}


def test_doctor_finds_a_dead_mlflow_and_hides_its_password(tmp_path: Path) -> None:
    verdict, text = verdicts(tmp_path, {"MLFLOW_TRACKING_URI": "http://me:planted@127.0.0.1:9"})["mlflow"]
    assert (verdict, text) == ("problem", "http://***@127.0.0.1:9 does not answer: ConnectError.")


def test_doctor_finds_a_missing_java_where_it_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "nowhere"))
    assert verdicts(tmp_path)["java"][0] == "ok"
    assert verdicts(tmp_path, {"MOSAIC_ENGINE": "spark"})["java"][0] == "problem"


def test_doctor_finds_a_damaged_outbox_and_counts_a_good_one(tmp_path: Path) -> None:
    file = tmp_path / "state" / "outbox.db"
    outbox = Outbox(file)
    outbox.add([NewEvent("r", "START", "t", "{}")])
    outbox.close()
    assert verdicts(tmp_path)["lineage"] == ("ok", "1 rows, 1 wait; they go to a file in the state folder")
    file.write_bytes(b"garbage" * 1000)
    assert verdicts(tmp_path)["lineage"][0] == "problem"


def test_doctor_finds_a_second_emitter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert verdicts(tmp_path)["lineage emitter"][0] == "ok"
    (tmp_path / "dagster.yaml").write_text("event_log_storage: {module: dagster_openlineage.storage}")
    assert verdicts(tmp_path)["lineage emitter"][0] == "problem"


def test_doctor_finds_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = verdicts(tmp_path, {"MOSAIC_STATE": str(tmp_path / "file" / "state")})
    assert found["disk"] == ("problem", f"{tmp_path / 'file'} cannot be written.")


@pytest.mark.parametrize(
    ("finding", "refused"),
    [
        (python((3, 13, 0)), r"python: 3\.13\.0 is neither 3\.11 nor 3\.12\. Make the environment with one"),
        (disk(Path("/"), 1_200_000_000), r"disk: 1\.2 GB free below /\. Free some, or set MOSAIC_STATE"),
        (disk(Path("/dev/null"), 10**12), r"disk: /dev/null cannot be written\. Set MOSAIC_STATE"),
        (memory(1_000_000_000, 8_000_000_000), r"memory: 1\.0 of 8\.0 GB free, .* 1\.5 GB needed\. Close something"),
        (loopback("192.0.2.1"), r"loopback: No port of 192\.0\.2\.1 can be bound: .*\. Allow it"),
    ],
)
def test_what_the_demo_cannot_do_without_stops_it(finding: Finding, refused: str) -> None:
    with pytest.raises(DependencyError, match=refused):
        require(iter([finding]))


def test_little_memory_is_worth_a_note_and_enough_of_all_stops_nothing() -> None:
    assert memory(3_000_000_000, 8_000_000_000).verdict == "note"
    require(iter([python((3, 12, 1)), disk(Path("/"), 10**11), memory(3 * 10**9, 8 * 10**9), loopback()]))


def test_the_demo_looks_before_it_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    env = {"MOSAIC_STATE": str(tmp_path / "file" / "state")}
    outcome = CliRunner().invoke(app, ["demo", "--small"], env=env)
    assert outcome.exit_code == 2, outcome.output
    assert "cannot be written" in outcome.output
