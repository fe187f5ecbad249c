"""On an object store nothing is locked: an OPTIMIZE that lands while rows are replaced is seen after the commit."""

from typing import Any

import pyarrow as pa
import pytest

from mosaic_resources.delta.commit import Commit
from mosaic_resources.delta.lake import ALL_ROWS, Lake
from mosaic_resources.delta.rewrite import optimize
from mosaic_resources.delta.writers import DeltaRsWriter
from mosaic_resources.errors import DependencyError
from mosaic_resources.settings.references import resolved_options

Bucket = tuple[str, dict[str, str]]


class LateWriter(DeltaRsWriter):
    """A writer whose commit is begun, and then held up until others have committed, once."""

    def __init__(self, options: dict[str, str], meanwhile: Any) -> None:
        super().__init__(options)
        self.meanwhile = meanwhile

    def write(self, *told: Any, **also: Any) -> None:
        self._wait()
        super().write(*told, **also)

    def merge(self, *told: Any) -> None:
        self._wait()
        super().merge(*told)

    def _wait(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()


@pytest.fixture
def lakes(bucket: Bucket) -> tuple[Lake, Any]:
    """A lake with four rows in four files, and one whose next write is held up until a function was called."""
    options = resolved_options(bucket[1], "test")
    lake = Lake(f"{bucket[0]}/lake", DeltaRsWriter(options), options)
    for key in range(4):
        lake.write("t", rows(key), Commit("first", version=key + 1), mode="append")
    return lake, lambda meanwhile: Lake(lake.root, LateWriter(options, meanwhile), options)


def rows(*keys: int, value: str = "old") -> pa.Table:
    return pa.table({"k": pa.array(keys, pa.int64()), "v": pa.array([value] * len(keys), pa.string())})


def read(lake: Lake) -> list[tuple[int, str]]:
    return sorted((row["k"], row["v"]) for row in lake.read("t").to_pylist())


def test_an_overwrite_of_all_is_written_again(lakes: tuple[Lake, Any]):
    lake, held_up = lakes
    held_up(lambda: optimize(lake, "t", Commit("upkeep"))).write("t", rows(9, value="new"), Commit("app", version=1))
    assert read(lake) == [(9, "new")]
    lake.write("t", rows(9, value="new"), Commit("app", version=1))
    assert read(lake) == [(9, "new")]


@pytest.mark.parametrize("kind", ["part", "merge", "stream"])
def test_what_replaces_a_part_is_tried_again_against_the_rewritten_files(lakes: tuple[Lake, Any], kind: str):
    lake, held_up = lakes
    late = held_up(lambda: optimize(lake, "t", Commit("upkeep")))
    if kind == "part":
        late.write("t", rows(1, value="new"), Commit("app"), predicate="k = 1")
    elif kind == "merge":
        late.merge("t", rows(1, value="new"), ["k"], Commit("app"))
    else:
        late.append_stream("t", "s", lambda last: (rows(1, value="new"), 1), replaced=lambda: "k = 1")
    assert read(lake) == [(0, "old"), (1, "new"), (2, "old"), (3, "old")]


def test_a_stream_that_replaces_all_is_written_again(lakes: tuple[Lake, Any]):
    lake, held_up = lakes

    def bring(on: Lake) -> int:
        return on.append_stream(
            "t", "s", lambda last: (None, 1) if last else (rows(1, value="new"), 1), replaced=lambda: ALL_ROWS
        )

    assert bring(held_up(lambda: optimize(lake, "t", Commit("upkeep")))) == 1
    assert (read(lake), bring(lake)) == ([(1, "new")], 0)


def test_a_second_writing_that_another_commit_comes_before_is_tried_again(lakes: tuple[Lake, Any]):
    lake, held_up = lakes
    late = held_up(lambda: optimize(lake, "t", Commit("upkeep")))
    writer, first = late.writer, late.writer.write

    def hold_up_the_second(*told: Any, **also: Any) -> None:
        first(*told, **also)
        # The txn of the same stream, so that the second writing's snapshot is behind.
        writer.meanwhile = lambda: lake.write("t", rows(8), Commit("app", version=2), mode="append")
        writer.write = first  # type: ignore[method-assign]

    writer.write = hold_up_the_second  # type: ignore[method-assign]
    late.write("t", rows(9, value="new"), Commit("app", version=1))
    assert (9, "new") in read(lake)
    assert read(lake)[0][0] >= 8


def test_it_is_given_up_when_others_always_come_first(lakes: tuple[Lake, Any], monkeypatch: pytest.MonkeyPatch):
    lake, held_up = lakes
    monkeypatch.setattr("mosaic_resources.delta.overlap.MAX_ATTEMPTS", 1)
    late = held_up(lambda: optimize(lake, "t", Commit("upkeep")))
    with pytest.raises(DependencyError, match="Files were rewritten while all rows were replaced"):
        late.write("t", rows(9, value="new"), Commit("app", version=1))


def test_an_append_meanwhile_is_no_rewrite(lakes: tuple[Lake, Any]):
    lake, held_up = lakes
    late = held_up(lambda: lake.write("t", rows(7), Commit("other", version=1), mode="append"))
    late.write("t", rows(1, value="new"), Commit("app"), predicate="k = 1")
    assert read(lake) == [(0, "old"), (1, "new"), (2, "old"), (3, "old"), (7, "old")]
