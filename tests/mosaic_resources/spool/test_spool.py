import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mosaic_resources.errors import InternalError
from mosaic_resources.spool.frame import FILE_HEADER, SpoolCorruptError
from mosaic_resources.spool.reader import read_records, segments
from mosaic_resources.spool.writer import SpoolWriteError, SpoolWriter


def records(root: Path) -> list[bytes]:
    return [payload for segment in segments(root, "s") for payload, _ in read_records(segment.path)]


def write(root: Path, *payloads: bytes) -> Path:
    writer = SpoolWriter(root, "s")
    for payload in payloads:
        writer.append(payload)
    writer.close()
    return writer.path


def test_what_is_appended_is_read_from_any_offset(tmp_path: Path) -> None:
    path = write(tmp_path, b"a", b"bb", b"ccc")
    found = list(read_records(path))
    assert [payload for payload, _ in found] == [b"a", b"bb", b"ccc"]
    assert [payload for payload, _ in read_records(path, found[0][1])] == [b"bb", b"ccc"]
    assert list(read_records(path, found[-1][1])) == []


def test_reopened_writer_goes_on_in_the_same_segment(tmp_path: Path) -> None:
    assert write(tmp_path, b"a") == write(tmp_path, b"b")
    assert records(tmp_path) == [b"a", b"b"]


def test_segments_rotate_by_size_and_say_which_is_last(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path, "s", segment_bytes=100)
    for i in range(30):
        writer.append(b"%03d" % i)
    found = segments(tmp_path, "s")
    assert len(found) > 2
    assert [segment.is_last for segment in found] == [False] * (len(found) - 1) + [True]
    assert found[0].app == "spool/s/worker-0/1"
    assert records(tmp_path) == [b"%03d" % i for i in range(30)]
    writer.close()


def test_each_writer_has_its_own_folder_until_it_closes(tmp_path: Path) -> None:
    first, second = SpoolWriter(tmp_path, "s"), SpoolWriter(tmp_path, "s")
    assert (first.folder.name, second.folder.name) == ("worker-0", "worker-1")
    first.close()
    third = SpoolWriter(tmp_path, "s", fdatasync=True)
    third.append(b"x")
    assert third.folder.name == "worker-0"
    second.close()
    third.close()


def test_torn_tail_at_every_byte_is_cut_off_at_open(tmp_path: Path) -> None:
    path = write(tmp_path, b"kept", b"torn record")
    whole, first_end = path.read_bytes(), next(iter(read_records(path)))[1]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = [payload for payload, _ in read_records(path)]
        assert kept == [b"kept", b"torn record"][: (cut >= first_end) + (cut == len(whole))]
        write(tmp_path, b"next")
        assert records(tmp_path) == [*kept, b"next"]


def test_damaged_segment_is_left_and_a_new_one_begun(tmp_path: Path) -> None:
    path = write(tmp_path, b"first", b"second")
    data = bytearray(path.read_bytes())
    data[len(FILE_HEADER) + 13] ^= 1
    path.write_bytes(data)
    after = write(tmp_path, b"third")
    assert after != path
    assert path.read_bytes() == bytes(data)
    assert [payload for payload, _ in read_records(after)] == [b"third"]
    with pytest.raises(SpoolCorruptError, match=f"{path}: The spool is damaged at byte 8"):
        list(read_records(path))


def test_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "00000001.seg"
    file.write_bytes(b"PAR1 something")
    with pytest.raises(SpoolCorruptError, match="does not begin as a spool segment"):
        list(read_records(file))


def test_offset_beyond_the_file_is_our_bug(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="lies beyond"):
        list(read_records(write(tmp_path, b"a"), 10_000))


def test_nothing_logged_is_no_segment(tmp_path: Path) -> None:
    assert segments(tmp_path, "s") == []


def test_full_disk_keeps_no_part_and_the_writer_goes_on(tmp_path: Path) -> None:
    # A size limit of the process stands for the disk: it, too, takes a part of a write and then fails.
    writer = SpoolWriter(tmp_path, "s")
    writer.append(b"before")
    size, limits = writer.path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, limits[1]))
    try:
        with pytest.raises(SpoolWriteError, match="cannot take 112 bytes") as caught:
            writer.append(b"x" * 100)
        assert caught.value.errno == errno.EFBIG
        assert writer.path.stat().st_size == size
        writer.append(b"small")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    writer.append(b"y" * 100)
    writer.close()
    assert records(tmp_path) == [b"before", b"small", b"y" * 100]


def test_full_disk_at_the_first_record_leaves_a_readable_file(tmp_path: Path) -> None:
    writer, limits = SpoolWriter(tmp_path, "s"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(SpoolWriteError):
            writer.append(b"first")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert records(tmp_path) == []
    writer.append(b"first")
    assert records(tmp_path) == [b"first"]
    writer.close()


def test_folder_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolWriteError, match="The inference log cannot take"):
        SpoolWriter(tmp_path / "file", "s")


WRITER = """
import sys, pathlib
from mosaic_resources.spool.writer import SpoolWriter
writer = SpoolWriter(pathlib.Path(sys.argv[1]), "s", segment_bytes=20_000)
for i in range(int(sys.argv[2]), 10**9):
    writer.append(b"%d " % i + b"x" * (i % 700))
    sys.stdout.write(f"{i}\\n"); sys.stdout.flush()
"""


def test_killed_writer_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    chance, acknowledged = random.Random(7), -1
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(acknowledged + 1)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(chance.uniform(0.02, 0.2))
        os.kill(child.pid, signal.SIGKILL)
        lines = child.stdout.read().split("\n")
        child.wait()
        acknowledged = max([int(line) for line in lines[:-1] if line], default=acknowledged)
        written = [int(payload.split(b" ")[0]) for payload in records(tmp_path)]
        # One record may be written and not acknowledged; the next writer takes its number up again.
        acknowledged = max(acknowledged, written[-1])
        assert written == list(range(len(written)))
        assert len(written) == acknowledged + 1
