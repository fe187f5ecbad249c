"""The hash of keys: what an engine computes, without one."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mosaic_assets.key_hash import buckets, key_hash, xxhash64
from mosaic_resources.errors import UnknownNameError, UserError


def rows(num_rows=500):
    rng = np.random.default_rng(3)
    texts = [
        "".join(chr(97 + code) for code in rng.integers(0, 26, length)) for length in rng.integers(0, 90, num_rows)
    ]
    odd = [float("nan"), float("-inf"), -0.0, 0.0, 5e-324]
    return pa.table(
        {
            "text": [
                None if row % 11 == 0 else text + ("é🙂" if row % 7 == 0 else "") for row, text in enumerate(texts)
            ],
            "short": pa.array(rng.integers(-(2**15), 2**15, num_rows), pa.int16()),
            "int": pa.array([None if row % 5 == 0 else row * 7919 - 99 for row in range(num_rows)], pa.int32()),
            "long": rng.integers(-(2**63), 2**63 - 1, num_rows),
            "flag": [bool(row % 2) for row in range(num_rows)],
            "day": pa.array(rng.integers(-20_000, 20_000, num_rows).astype("int32")).cast(pa.date32()),
            "at": pa.array(rng.integers(-(10**15), 2 * 10**15, num_rows)).cast(pa.timestamp("us", tz="UTC")),
            "double": [*odd, *rng.normal(size=num_rows - len(odd))],
            "float": pa.array([*odd, *rng.normal(size=num_rows - len(odd))], pa.float32()),
        }
    )


def agrees_with(session):
    table = rows()
    frame = session.createDataFrame(table)
    for name in table.column_names:
        engine = frame.selectExpr(f"xxhash64({name}) as hash").toArrow()["hash"].to_numpy()
        assert (engine == xxhash64([table[name]])).all(), name
    chained = ", ".join(table.column_names)
    said = frame.selectExpr(
        f"xxhash64({chained}, 'split:17') as hash", f"pmod(xxhash64({chained}, 'split:17'), 1000000) as bucket"
    ).toArrow()
    ours = key_hash(table, table.column_names, "split:17")
    assert (said["hash"].to_numpy() == ours).all()
    assert (said["bucket"].to_numpy() == buckets(ours)).all()


def test_hash_of_every_type_is_sails(engine):
    agrees_with(engine.session())


@pytest.mark.java
def test_hash_of_every_type_is_sparks(tmp_path):
    from mosaic_resources.engine.session import SessionHolder
    from mosaic_resources.engine.spark import SparkEngine

    holder = SessionHolder(SparkEngine(tmp_path))
    try:
        agrees_with(holder.session())
    finally:
        holder.close()


def test_hash_does_not_depend_on_chunks_or_slices():
    table = rows()
    chunked = pa.concat_tables([table.slice(0, 123), table.slice(123, 1), table.slice(124)])
    whole = key_hash(table, table.column_names, "s")
    assert (key_hash(chunked, table.column_names, "s") == whole).all()
    assert (key_hash(table.slice(77, 50), table.column_names, "s") == whole[77:127]).all()
    large = table.set_column(0, "text", pc.cast(table["text"], pa.large_string()))
    assert (key_hash(large, table.column_names, "s") == whole).all()
    assert len(key_hash(table.slice(0, 0), table.column_names, "s")) == 0


def test_a_key_that_is_none_is_refused():
    with pytest.raises(UnknownNameError, match="column 'nope' is not declared"):
        key_hash(rows(), ["nope"], "s")
    with pytest.raises(UserError, match=r"Column 'k' is list<item: int64>; a key is text"):
        key_hash(pa.table({"k": [[1], [2]]}), ["k"], "s")
