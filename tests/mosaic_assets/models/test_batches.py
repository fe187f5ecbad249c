import numpy as np
import pyarrow as pa
import pytest
import torch

from mosaic_assets.models.batches import Matrices, batch_loader, encode_rows, fit_encoding
from mosaic_resources.errors import UnknownNameError, UserError


def numbered(num_rows: int) -> Matrices:
    values = np.arange(num_rows, dtype=np.float32)
    return Matrices(values[:, None], np.zeros((num_rows, 0), np.int64), np.zeros(num_rows, np.float32))


def order(loader) -> list[int]:
    return [int(value) for batch in loader for value in batch[0][:, 0]]


def test_encoding_is_fitted_by_type_and_frequency() -> None:
    rows = pa.table({"n": [1, 2, 3, 4], "t": ["b", "a", "b", None], "b": [True, False, True, None]})
    encoding = fit_encoding(rows, ["t", "n", "b"], smallest_category=1)
    assert encoding.numeric == ("n", "b")
    assert encoding.categorical == {"t": ("b", "a")}
    assert fit_encoding(rows, ["t", "n"], smallest_category=2).categorical == {"t": ("b",)}


def test_encoding_does_not_depend_on_the_order_of_rows() -> None:
    texts = ["x", "y", "z"] * 4
    found = {fit_encoding(pa.table({"t": order}), ["t"], 1).categorical["t"] for order in (texts, texts[::-1])}
    assert found == {("x", "y", "z")}


def test_encoding_refuses_unknown_columns_and_times() -> None:
    rows = pa.table({"at": pa.array([0], pa.timestamp("us"))})
    with pytest.raises(UnknownNameError, match=r"'ta' is not declared\. Known: at"):
        fit_encoding(rows, ["ta"])
    with pytest.raises(UserError, match="a model reads numbers and texts"):
        fit_encoding(rows, ["at"])


@pytest.mark.parametrize("labels", [[0.0, 2.0], [0.0, None]])
def test_labels_are_0_or_1(labels: list) -> None:
    rows = pa.table({"n": [1.0, 2.0], "late": pa.array(labels, pa.float64())})
    with pytest.raises(UserError, match="must be 0 or 1"):
        encode_rows(rows, fit_encoding(rows, ["n"]), "late")


@pytest.mark.parametrize(("num_rows", "batch_size"), [(10, 3), (9, 3), (7, 7), (100, 8)])
def test_every_epoch_is_another_permutation_and_every_seed_the_same(num_rows: int, batch_size: int) -> None:
    first, second = batch_loader(numbered(num_rows), batch_size, 1), batch_loader(numbered(num_rows), batch_size, 1)
    epochs = [order(first) for _ in range(3)]
    assert epochs == [order(second) for _ in range(3)]
    for epoch in epochs:
        assert len(set(epoch)) == len(epoch) == num_rows // batch_size * batch_size
    assert num_rows < 8 or epochs[0] != epochs[1]
    assert num_rows < 8 or order(batch_loader(numbered(num_rows), batch_size, 2)) != epochs[0]


def test_without_seed_rows_keep_their_order_to_the_last() -> None:
    assert order(batch_loader(numbered(10), 4, None)) == list(range(10))


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    order(batch_loader(numbered(10), 3, 5))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("num_read", [0, 1, 2, 3])
def test_stream_goes_on_where_another_stopped(num_read: int) -> None:
    whole = batch_loader(numbered(12), 4, 7)
    expected = [order(whole) for _ in range(3)]
    stopped = batch_loader(numbered(12), 4, 7)
    order(stopped)
    batches = iter(stopped)
    for _ in range(num_read):
        next(batches)
    # Composer asks with the samples of the epoch; between two epochs there are none.
    state = stopped.dataset.state_dict(num_read * 4, True) if num_read else {"epoch": 0, "batch": 0}
    resumed = batch_loader(numbered(12), 4, 7)
    resumed.dataset.load_state_dict(state)
    assert order(resumed) == expected[1][num_read * 4 :]
    assert order(resumed) == expected[2]


def test_batch_that_never_fills_is_refused() -> None:
    with pytest.raises(UserError, match="10 rows do not fill one batch of 16"):
        batch_loader(numbered(10), 16, 1)
