"""The queue on disk: order, kills, forks, damage."""

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mosaic_resources.errors import DependencyError, MosaicError, UserError
from mosaic_resources.outbox.outbox import DatasetRef, NewEvent, Outbox


def event(number: int, body: str = "{}", version: str | None = "1") -> NewEvent:
    refs = [DatasetRef("file", "/in", version, False), DatasetRef("file", "/out", str(number), True)]
    return NewEvent(f"run-{number}", "COMPLETE", "2013-07-01T00:00:00+00:00", body, refs)


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "deep" / "outbox.db")


def test_outbox_keeps_order_and_finds_by_dataset(outbox: Outbox) -> None:
    assert not outbox.exists
    outbox.add([event(number, version=None) for number in range(5)])
    assert [each.run_id for each in outbox.waiting(3)] == ["run-0", "run-1", "run-2"]
    outbox.mark_sent([1, 2])
    outbox.mark_refused(3, "no")
    assert (outbox.backlog(), [each.id for each in outbox.waiting()]) == (2, [4, 5])
    assert len(outbox.events()) == 5
    assert len(outbox.events("run-3")) == 1
    assert len(outbox.naming("file", "/in", as_output=False)) == 5
    assert outbox.naming("file", "/in", as_output=True) == []
    assert outbox.datasets() == [("file", "/in"), ("file", "/out")]
    assert outbox.replay(after_id=2) == 3
    assert [each.id for each in outbox.waiting()] == [3, 4, 5]


def test_outbox_adds_all_or_nothing(outbox: Outbox) -> None:
    broken = NewEvent("run", "START", "now", None)  # type: ignore[arg-type]
    with pytest.raises((MosaicError, TypeError)):
        outbox.add([event(1), broken])
    assert outbox.events() == []


WRITER = """
import sys
from pathlib import Path
from mosaic_resources.outbox.outbox import Outbox, NewEvent, DatasetRef
outbox, number = Outbox(Path(sys.argv[1])), 0
while True:
    number += 1
    refs = [DatasetRef("file", f"/{number}", "1", True)]
    outbox.add([NewEvent(f"{sys.argv[2]}-{number}", kind, "t", "x" * 3000, refs) for kind in ("START", "COMPLETE")])
    print(number, flush=True)
"""


def test_outbox_survives_kills(outbox: Outbox) -> None:
    draw, acknowledged = random.Random(7), 0
    for attempt in range(4):
        command = [sys.executable, "-c", WRITER, str(outbox.file), str(attempt)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            wanted = draw.randint(20, 200)
            numbers = []
            for line in writer.stdout:
                numbers.append(int(line))
                if len(numbers) == wanted:
                    os.kill(writer.pid, signal.SIGKILL)
        acknowledged += numbers[-1]
        kept = [each for each in outbox.events() if each.run_id.startswith(f"{attempt}-")]
        assert len(kept) % 2 == 0
        assert 2 * numbers[-1] <= len(kept) <= 2 * numbers[-1] + 2
        assert [each.run_id for each in kept[::2]] == [f"{attempt}-{n + 1}" for n in range(len(kept) // 2)]
    assert outbox.check() >= 2 * acknowledged


def test_outbox_takes_many_writers(outbox: Outbox) -> None:
    def write(offset: int) -> None:
        mine = outbox if offset < 2000 else Outbox(outbox.file)
        for number in range(50):
            mine.add([event(offset + number)])

    threads = [threading.Thread(target=write, args=(offset,)) for offset in (0, 1000, 2000, 3000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.run_id for each in outbox.events()}) == 200


def test_outbox_after_a_fork(outbox: Outbox) -> None:
    outbox.add([event(0)])
    child = os.fork()
    if child == 0:
        try:
            outbox.add([event(1)])
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    outbox.add([event(2)])
    assert {each.run_id for each in outbox.events()} == {"run-0", "run-1", "run-2"}


def test_outbox_truncated_or_flipped_is_never_wrong(outbox: Outbox, tmp_path: Path) -> None:
    bodies = [f'{{"number":{number},"pad":"{"p" * 500}"}}' for number in range(60)]
    outbox.add([event(number, body) for number, body in enumerate(bodies)])
    outbox.close()  # moves the log into the file
    whole, draw, told = outbox.file.read_bytes(), random.Random(3), 0
    for attempt in range(120):
        damaged = bytearray(whole)
        if attempt % 2:
            damaged = damaged[: draw.randrange(1, len(whole))]
        else:
            place = draw.randrange(len(whole))
            damaged[place] ^= 1 << draw.randrange(8)
        file = tmp_path / f"{attempt}.db"
        file.write_bytes(damaged)
        broken = Outbox(file, timeout_seconds=0.1)
        try:
            for each in broken.events():
                assert each.body == bodies[int(each.run_id[4:])]
            broken.check()
        except MosaicError:
            told += 1
        finally:
            broken.close()
    assert told > 40


def test_outbox_refuses_what_it_cannot_read(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no database" * 500)
    with pytest.raises(UserError, match=r"garbage\.db: The lineage outbox is damaged: file is not a database"):
        Outbox(garbage).events()
    newer = Outbox(tmp_path / "newer.db")
    newer.add([event(1)])
    newer._open().execute("pragma user_version = 99")
    newer.close()
    with pytest.raises(UserError, match="The outbox has format 99, this version reads 1"):
        newer.backlog()
    (tmp_path / "file").write_text("")
    with pytest.raises(DependencyError, match="The folder cannot be made"):
        Outbox(tmp_path / "file" / "x" / "o.db").add([event(1)])
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(DependencyError, match="The lineage outbox cannot be used: unable to open"):
        Outbox(tmp_path / "folder.db").add([event(1)])


def test_outbox_flipped_body_is_told(outbox: Outbox) -> None:
    outbox.add([event(1, '{"rows": 100}')])
    outbox._open().execute("update event set body = replace(body, '100', '101')").connection.commit()
    with pytest.raises(UserError, match="event 1 does not match its checksum"):
        outbox.waiting()
    outbox.close()


def test_outbox_waits_for_another_writer_only_so_long(outbox: Outbox) -> None:
    outbox.add([event(0)])
    other = Outbox(outbox.file)._open()
    other.execute("begin immediate")
    with pytest.raises(DependencyError, match="database is locked"):
        Outbox(outbox.file, timeout_seconds=0.05).add([event(1)])
    other.rollback()
    other.close()
