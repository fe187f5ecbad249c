"""What a model is fitted on: the dataset's manifest, its rows, the columns that a request can provide."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from mosaic_assets.datasets.manifest import Manifest
from mosaic_assets.datasets.splits import FOLD_COLUMN, SPLIT_COLUMN
from mosaic_resources.errors import UnknownNameError, UserError

__all__ = ["manifest_of", "model_columns", "refuse_failed_checks"]


def manifest_of(folder: Path, dataset: str, table_version: int) -> Manifest:
    """Returns the manifest of a version of a dataset's table.

    Args:
        folder: Where manifests are kept.
        dataset: Name of the dataset.
        table_version: Version of its table.

    Raises:
        UserError: No manifest names that version.
    """
    files = sorted(folder.glob(f"{dataset}-*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files:
        manifest = Manifest.load(file)
        if manifest.table_version == table_version:
            return manifest
    raise UserError(
        f"No manifest names version {table_version} of the dataset.", f"datasets/{dataset}", "Materialize it again."
    )


def refuse_failed_checks(manifest: Manifest) -> None:
    """Refuses a dataset that failed a blocking check, however the model's step was started.

    Raises:
        UserError: It did; the message says what was found.
    """
    if manifest.failed_checks:
        raise UserError(
            f"Version {manifest.table_version} failed its blocking checks: {' '.join(manifest.failed_checks)}",
            f"datasets/{manifest.dataset}",
            f"Mend it, or change its 'leakage' in YAML, then run 'mosaic materialize datasets/{manifest.dataset}'.",
        )


def model_columns(
    schema: pa.Schema, request: Sequence[str], service: Sequence[str], exclude: Sequence[str], only: Sequence[str] = ()
) -> tuple[str, ...]:
    """Returns the columns that a model reads, in the dataset's order.

    Only what a request brings, what is looked up for it and what is computed from both can be read when it counts.
    Times are left out: the network reads numbers and texts.

    Args:
        schema: Of the dataset: entity columns, looked-up features, on-demand features, split.
        request: Columns that a request holds.
        service: Looked-up features.
        exclude: Columns to leave out.
        only: The columns to take, if not all.

    Raises:
        UnknownNameError: ``exclude`` or ``only`` names none of them.
        UserError: None is left.
    """
    names = schema.names
    last = max((names.index(name) for name in service), default=-1)
    computed = [name for name in names[last + 1 :] if name not in (SPLIT_COLUMN, FOLD_COLUMN)] if last >= 0 else []
    known = [name for name in names if name in {*request, *service, *computed}]
    for name in (*exclude, *only):
        if name not in known:
            raise UnknownNameError("column", name, known, "the model's columns")
    times = [name for name in known if pa.types.is_temporal(schema.field(name).type)]
    chosen = tuple(name for name in known if name not in {*exclude, *times} and (not only or name in only))
    if not chosen:
        raise UserError("The model has no column to read.", "columns", f"Known: {', '.join(known)}.")
    return chosen
