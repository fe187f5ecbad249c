import numpy as np
import pytest

from mosaic_resources.online.blob import encode
from mosaic_resources.online.contract import make_online_store
from mosaic_resources.online.keys import encode_key
from mosaic_resources.online.layout import BlobLayout, FieldLayout, ViewLayout

FIELDS = (FieldLayout("x", "float64"), FieldLayout("n", "int64"), FieldLayout("t", "timestamp"))
LAYOUT = BlobLayout("bits", ("k",), (ViewLayout("v", (*FIELDS, FieldLayout("s", "string", 12))),))


@pytest.mark.parametrize(("kind", "num_keys"), [("lmdb", 100_000), ("redis", 10_000), ("postgres", 10_000)])
def test_every_bit_comes_back(kind: str, num_keys: int, request: pytest.FixtureRequest) -> None:
    place = request.getfixturevalue("tmp_path" if kind == "lmdb" else f"{kind}_address")
    rng = np.random.default_rng(5)
    bits = rng.integers(-(2**63), 2**63 - 1, num_keys)
    x = bits.view(np.float64).copy()  # every pattern: NaNs with payloads, subnormals, infinities
    x[:3] = [-0.0, np.nan, -np.inf]
    values = {"x": x, "n": bits, "t": bits >> 8, "s": np.array([f"é{i}".encode() for i in range(num_keys)])}
    nulls = {name: rng.random(num_keys) < 0.1 for name in values}
    event = rng.integers(-(2**62), 2**62, num_keys)
    rows = encode(LAYOUT, "v", event, event + 1, values=values, nulls=nulls)
    keys = [key for i in range(num_keys) if (key := encode_key([f"k{i}"])) is not None]
    store = make_online_store(str(place))
    assert store.merge(LAYOUT, keys, rows) == num_keys
    assert b"".join(blob or b"" for blob in store.read(LAYOUT, keys)) == rows.tobytes()
    store.close()
