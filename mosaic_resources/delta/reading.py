"""How a version's files are read: local ones by pyarrow itself, ten times quicker than through delta-rs' file system.

``pyarrow.dataset`` brings pandas with it, so it is imported when something is read.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable

__all__ = ["dataset_of", "read_dataset"]


def dataset_of(handle: DeltaTable, folder: str | None) -> Any:
    """Returns a version as a pyarrow dataset.

    Args:
        handle: The version.
        folder: The table's folder where it lies on a local disk; None for an object store.
    """
    import pyarrow.fs as fs

    if folder is None:
        return handle.to_pyarrow_dataset()
    return handle.to_pyarrow_dataset(filesystem=fs.SubTreeFileSystem(folder, fs.LocalFileSystem()))


def read_dataset(dataset: Any, columns: Sequence[str] | None, filters: Any, *, is_local: bool) -> pa.Table:
    """Returns rows of a dataset.

    Args:
        dataset: As ``dataset_of`` makes it.
        columns: Columns to read; None or none: all.
        filters: A pyarrow expression or DNF tuples, pushed down.
        is_local: Whether its files are local: then nothing is read ahead, which would copy whole column chunks.
    """
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    return dataset.to_table(
        columns=list(columns) if columns else None,
        filter=pq.filters_to_expression(filters) if isinstance(filters, list) else filters,
        fragment_scan_options=ds.ParquetFragmentScanOptions(pre_buffer=False) if is_local else None,
    )
