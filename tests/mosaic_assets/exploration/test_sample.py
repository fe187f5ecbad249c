"""Rows to look at: the same for the same rows, in whatever order and batches they come."""

import decimal

import numpy as np
import pyarrow as pa

from mosaic_assets.exploration.sample import sample_rows


def rows(num_rows=5000):
    rng = np.random.default_rng(1)
    return pa.table(
        {"id": np.arange(num_rows), "x": rng.normal(size=num_rows), "name": [f"n{row % 7}" for row in range(num_rows)],
         "nested": [[row] for row in range(num_rows)], "price": [decimal.Decimal("1.50")] * num_rows}
    )  # fmt: skip


def test_sample_is_the_same_in_every_order_and_chunking():
    table = rows()
    mixed = table.take(pa.array(np.random.default_rng(2).permutation(table.num_rows)))
    first, total = sample_rows(table.to_batches(max_chunksize=700), 300)
    again, _ = sample_rows(mixed.to_batches(max_chunksize=4096), 300)
    assert (first.num_rows, total) == (300, 5000)
    assert first.equals(again)
    larger, _ = sample_rows(table.to_batches(), 1000)
    assert set(first["id"].to_pylist()) < set(larger["id"].to_pylist())


def test_a_small_table_is_taken_whole_and_an_empty_one_is_none():
    table = rows(40)
    whole, total = sample_rows(table.to_batches(), 300)
    assert sorted(whole["id"].to_pylist()) == list(range(40))
    assert total == 40
    assert sample_rows([], 5) == (None, 0)
    only_nested, _ = sample_rows(table.select(["nested"]).to_batches(), 5)
    assert only_nested.num_rows == 5
