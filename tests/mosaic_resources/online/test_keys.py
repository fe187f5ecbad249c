import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic_resources.errors import UserError
from mosaic_resources.online import keys
from mosaic_resources.online.keys import encode_key, encode_keys

VALUES = st.one_of(st.text(max_size=40), st.integers(-(2**63), 2**63 - 1))


@given(st.lists(VALUES, min_size=1, max_size=3), st.lists(VALUES, min_size=1, max_size=3))
def test_different_values_have_different_keys(left: list[str | int], right: list[str | int]) -> None:
    assert (encode_key(left) == encode_key(right)) == (left == right)


@pytest.mark.parametrize("values", [["a", "bc"], ["ab", "c"], ["a\0", "bc"], ["", "abc"], ["x" * 300], ["x" * 70_000]])
def test_key_is_short_enough_for_the_store(values: list[str]) -> None:
    key = encode_key(values)
    assert key is not None
    assert len(key) <= keys.MAX_KEY_BYTES


def test_long_texts_stay_apart() -> None:
    assert encode_key(["x" * 70_000]) != encode_key(["x" * 70_001])


def test_null_finds_nothing() -> None:
    assert encode_keys([np.array(["a", None], object), np.array([1, 2])]) == [encode_key(["a", 1]), None]


@pytest.mark.parametrize("value", [1.5, True, 2**63, b"x"])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(UserError, match="is no join key"):
        encode_key([value])  # type: ignore[list-item]


def test_docstrings() -> None:
    assert doctest.testmod(keys).failed == 0
