"""Sections of the page: figures that a brute-force count gives too."""

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mosaic_assets.exploration.charts import bars, cell, line, table
from mosaic_assets.exploration.distance import distribution_distance
from mosaic_assets.exploration.sections import split_section, target_section, time_section


def rows(num_rows=2000):
    rng = np.random.default_rng(7)
    strong = rng.normal(size=num_rows)
    late = (strong + rng.normal(size=num_rows) > 1).astype(int)
    at = [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(hours=row) for row in range(num_rows)]
    return pa.table(
        {"strong": pa.array(strong, mask=rng.random(num_rows) < 0.1), "weak": rng.normal(size=num_rows),
         "carrier": rng.choice(["<b>UA</b>", "B6"], num_rows), "at": at,
         "late": pa.array([None if row == 5 else int(value) for row, value in enumerate(late)]),
         "split": ["train"] * 1200 + ["test"] * (num_rows - 1200)}
    )  # fmt: skip


COLUMNS = ["strong", "weak", "carrier", "at"]


def test_relation_to_the_label_ranks_columns_and_draws_its_mean_along_their_values():
    given = rows()
    text = target_section(given, COLUMNS, "late")
    ranked = re.findall(r"<tr><td>(\w+)</td><td>([\d.]+)</td></tr>", text)
    assert ranked[0][0] == "strong"
    assert float(ranked[0][1]) > 0.75 > 0.55 > float(dict(ranked)["weak"])
    assert text.count("<figure>") == 4
    known = given.filter(given["late"].is_valid())
    for name in ("<b>UA</b>", "B6"):
        mean = pc.mean(known.filter(pc.equal(known["carrier"], name))["late"]).as_py()
        escaped = name.replace("<", "&lt;").replace(">", "&gt;")
        assert f"<title>{escaped}: {mean:.4g}, " in text
    missing = known.filter(known["strong"].is_null())
    assert f"<title>missing: {pc.mean(missing['late']).as_py():.4g}, {missing.num_rows} rows</title>" in text
    assert "<b>UA</b>" not in text
    assert "Too few rows" in target_section(given.slice(0, 20), COLUMNS, "late")


def test_relation_to_a_label_of_texts_has_no_means():
    given = rows()
    text = target_section(given, ["strong", "late"], "carrier")
    assert "area under the ROC curve" in text
    assert "<figure>" not in text
    three = given.set_column(2, "carrier", pa.array([f"c{row % 3}" for row in range(given.num_rows)]))
    assert "share of the label's entropy explained" in target_section(three, ["strong"], "carrier")


def test_by_split_shows_means_missing_shares_and_distances():
    given = rows()
    moved = given.set_column(1, "weak", pa.array(np.where(np.arange(given.num_rows) < 1200, 0.0, 50.0)))
    text = split_section(moved, COLUMNS, "split")
    assert "train (1,200)" in text
    assert re.search(r"<td>weak</td><td>0 <small></small></td><td>50 <small></small></td><td>1</td>", text)
    part = given.filter(pc.equal(given["split"], "test"))["strong"]
    assert f"{pc.mean(part).as_py():.4g} <small>{part.null_count / len(part):.1%} missing</small>" in text
    assert split_section(given.slice(0, 100), COLUMNS, "split") == ""


def test_over_time_follows_rows_label_and_columns():
    given = rows()
    text = time_section(given, ["strong", "weak", "carrier"], "at", "late")
    assert "By week of at" in text
    names = re.findall(r"<tr><td>(\w+)</td>", text)
    assert names == ["rows", "late", "strong", "weak"]  # a text of which nothing is missing shows nothing
    first = given.filter(pc.less(given["at"], pa.scalar(datetime(2013, 1, 7, tzinfo=UTC), given["at"].type)))
    assert f"<title>2012-12-31: {float(first.num_rows):,.4g}</title>" in text
    assert f"<title>2012-12-31: {pc.mean(first['weak']).as_py():.4g}</title>" in text
    assert "By hour of at" in time_section(given.slice(0, 40), ["weak"], "at")
    assert time_section(given.slice(0, 0), ["weak"], "at") == ""


def test_distance_is_a_share_of_rows():
    column = pa.chunked_array([[1.0, 2.0, 3.0, None]])
    assert distribution_distance(column, column) == 0.0
    assert distribution_distance(column, pa.chunked_array([[None] * 4], pa.float64())) == pytest.approx(0.75)
    assert distribution_distance(pa.chunked_array([["a", None]]), pa.chunked_array([["z", None]])) == 0.5
    assert distribution_distance(pa.chunked_array([[True]]), pa.chunked_array([[False]])) == 1.0
    assert distribution_distance(pa.chunked_array([[[1]]]), pa.chunked_array([[[1]]])) is None
    mostly_zero = pa.chunked_array([[0.0] * 80 + [1.0] * 20])
    assert distribution_distance(mostly_zero, pa.chunked_array([[1.0]])) == pytest.approx(0.8)
    empty = pa.chunked_array([[]], pa.string())
    assert distribution_distance(empty, empty) == 0.0


def test_charts_leave_out_what_is_not_known_and_escape_names():
    drawn = bars([0.5, None, float("nan")], ["<x>", "b", "c"], [1, 2, 0])
    assert drawn.count("<rect") == 6
    assert "<title>&lt;x&gt;: 0.5, 1 rows</title>" in drawn
    assert "<title>b: –, 2 rows</title>" in drawn
    followed = line([1.0, None, 3.0, 4.0], ["a", "b", "c", "d"])
    assert (followed.count("<polyline"), followed.count("<circle")) == (2, 3)
    assert (
        table(["<h>"], [["1"]])
        == "<table><thead><tr><th>&lt;h&gt;</th></tr></thead><tbody><tr><td>1</td></tr></tbody></table>"
    )
    assert [cell(value) for value in (None, float("inf"), 0.123456, "a<b", 7)] == ["–", "–", "0.1235", "a&lt;b", "7"]
