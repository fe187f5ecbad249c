import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic_resources.bentos.encoding import Encoding, EncodingError

ENCODING = Encoding(("delay", "is_late"), {"carrier": ("AA", "UA"), "dest": ("LAX",)})
ROWS = {
    "delay": np.array([1.5, np.nan, np.inf]),
    "is_late": np.array([True, False, True]),
    "carrier": np.array(["UA", None, "ZZ"], object),
    "dest": np.array(["LAX", "LAX", "SFO"]),
    "further": np.array([0, 0, 0]),
}


def test_encode_numbers_and_categories() -> None:
    numeric, categorical = ENCODING.encode(ROWS)
    assert numeric.dtype == np.float32
    assert numeric.flags.c_contiguous
    np.testing.assert_array_equal(numeric, np.array([[1.5, 1], [np.nan, 0], [np.nan, 1]], np.float32))
    assert categorical.tolist() == [[2, 1], [0, 1], [0, 0]]


def test_encode_no_rows() -> None:
    numeric, categorical = ENCODING.encode({name: values[:0] for name, values in ROWS.items()})
    assert numeric.shape == (0, 2)
    assert categorical.shape == (0, 2)


def test_encode_none_and_numbers_beyond_float32_are_missing() -> None:
    numeric, _ = Encoding(("delay",)).encode({"delay": np.array([None, 1e300, 7], object)})
    assert np.isnan(numeric[:2]).all()
    assert numeric[2, 0] == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"delay": None}, "Column 'delay' is absent"),
        ({"delay": np.array(["1", "2", "3"])}, "'delay' holds texts, the model needs numbers"),
        ({"delay": np.array(["1", None, 2], object)}, "the model needs numbers"),
        ({"delay": np.array(["2013-01-01"] * 3, "datetime64[us]")}, "'delay' holds times"),
        ({"delay": np.array([1.0])}, re.escape("has shape (3,), not (1,)")),
        ({"carrier": np.array([1, 2, 3])}, "'carrier' holds values of type int64, the model needs texts"),
        ({"carrier": np.array(["UA", 3, None], object)}, "the model needs texts"),
        ({"is_late": np.array([[1], [2], [3]])}, re.escape("'is_late' has shape (3, 1)")),
        ({"delay": np.array([object(), 1, 2], object)}, "values that are no numbers"),
    ],
)
def test_encode_refuses(change: dict, message: str) -> None:
    columns = {name: values for name, values in {**ROWS, **change}.items() if values is not None}
    with pytest.raises(EncodingError, match=message):
        ENCODING.encode(columns)


@given(st.lists(st.text(), unique=True), st.lists(st.text(), max_size=20))
def test_json_round_trip_encodes_the_same(vocabulary: list[str], texts: list[str]) -> None:
    encoding = Encoding((), {"text": tuple(vocabulary)})
    again = Encoding.from_json(encoding.to_json())
    assert again == encoding
    columns = {"text": np.array(texts, object)}
    codes = encoding.encode(columns)[1]
    assert codes.tolist() == again.encode(columns)[1].tolist()
    assert [vocabulary[code - 1] for (code,) in codes if code] == [text for text in texts if text in vocabulary]


def test_cardinalities_count_the_unknown() -> None:
    assert ENCODING.cardinalities == (3, 2)
    assert ENCODING.columns == ("delay", "is_late", "carrier", "dest")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "This is no encoding"),
        ("{", "This is no encoding"),
        (json.dumps({"format_version": 1, "numeric": ["a"], "categorical": {"a": []}}), "must be unique"),
        (json.dumps({"format_version": 2, "numeric": ["a"], "categorical": {}}), "format 2, not 1"),
        (json.dumps({"format_version": 1, "numeric": [], "categorical": {"a": [1]}}), "only texts"),
        (json.dumps({"format_version": 1, "numeric": [], "categorical": {}}), "at least one"),
    ],
)
def test_from_json_refuses(text: str, message: str) -> None:
    with pytest.raises(EncodingError, match=message):
        Encoding.from_json(text)
