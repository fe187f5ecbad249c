"""Which columns a raw table has: what is declared, what the table has kept, what new files bring."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from mosaic_assets.value_types import TABLE_TYPES, known_type
from mosaic_resources.errors import UserError

__all__ = ["Columns", "Evolution", "Layout", "columns_of", "kept_columns", "lay_out", "merged_kind"]

Evolution = Literal["add_new_columns", "rescue", "fail_on_new_columns", "none"]
ADDED_BY_INGEST = ("_source_row", "_source_file", "_ingested_at")
# Delta refuses these in a name unless columns are mapped, which the reader does not do.
FORBIDDEN = set(" ,;{}()\n\t=")
NUMBERS = ("int", "bigint", "double")


@dataclass(frozen=True)
class Columns:
    """What a declaration says of columns.

    Args:
        kinds: Column → SQL type, in order. The first step of each path is among them, as text that holds the whole.
        paths: Column → steps to its value within nested objects.
    """

    kinds: Mapping[str, str]
    paths: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Layout:
    """The columns that a run writes.

    Args:
        kinds: Column → SQL type, in order.
        added: Columns that the table has not had.
        ignored: Columns of the files that are neither written nor rescued.
    """

    kinds: Mapping[str, str]
    added: tuple[str, ...] = ()
    ignored: frozenset[str] = frozenset()


def columns_of(declared: Mapping[str, str | Mapping[str, str]], where: str) -> Columns:
    """Returns declared columns, each a type or ``{type: …, path: user.id}``.

    Raises:
        UserError: A type is unknown, or a column with a path is written otherwise.
    """
    kinds: dict[str, str] = {}
    paths: dict[str, tuple[str, ...]] = {}
    for name, told in declared.items():
        parts = {"type": told} if isinstance(told, str) else dict(told)
        if "type" not in parts or set(parts) - {"type", "path"}:
            raise UserError(f"Column '{name}' is not understood.", where, "Write a type, or {type: …, path: user.id}.")
        known_type("column", name, parts["type"], where)
        kinds[name] = parts["type"]
        if "path" in parts:
            paths[name] = tuple(parts["path"].split("."))
    heads = {path[0]: "string" for path in paths.values() if len(path) > 1 and path[0] not in kinds}
    return Columns({**kinds, **heads}, paths)


def kept_columns(stored: pa.Schema, rescued: str) -> dict[str, str]:
    """Returns the columns that a table has kept, without those that ingestion adds."""
    names = {kind: name for name, kind in TABLE_TYPES.items()}
    return {
        field.name: names[field.type]
        for field in stored
        if field.name not in (*ADDED_BY_INGEST, rescued) and field.type in names
    }


def lay_out(
    declared: Mapping[str, str],
    kept: Mapping[str, str] | None,
    found: Mapping[str, str | None],
    mode: Evolution,
    *,
    reserved: Collection[str],
    where: str,
) -> Layout:
    """Returns the columns of a run.

    Args:
        declared: Column → type of the declaration; may be empty.
        kept: Column → type of the table; None where it does not exist.
        found: Column of the new files → the type that its values suggest; None where it has none.
        mode: What becomes of a column that is neither declared nor kept.
        reserved: Names that ingestion itself takes.
        where: Table, for the message.

    Raises:
        UserError: The mode is ``fail_on_new_columns`` and there is a new one; or no column is known at all.
    """
    base = {**(kept or {}), **declared}
    new = [name for name in found if name not in base]
    if mode == "fail_on_new_columns" and base and new:
        raise UserError(
            f"Column '{new[0]}' is new; nothing was written.", where,
            "Declare it under 'columns', or choose another 'schema_evolution_mode'.",
        )  # fmt: skip
    taken = {name.casefold() for name in (*base, *reserved)}
    added: dict[str, str] = {}
    for name in new if mode == "add_new_columns" or not base else ():
        kind = found[name]
        if kind is not None and name and name.casefold() not in taken and not FORBIDDEN & set(name):
            added[name] = kind
            taken.add(name.casefold())
    if not base and not added:
        raise UserError("The files hold no value to infer a column from.", where, "Declare 'columns'.")
    kinds = {**base, **added}
    ignored = frozenset(name for name in new if name not in added) if mode == "none" else frozenset()
    return Layout(kinds, tuple(name for name in kinds if kept is not None and name not in kept), ignored)


def merged_kind(one: str | None, other: str | None) -> str | None:
    """Returns the type that holds the values of both: of numbers the wider, else text."""
    if one is None or other is None or one == other:
        return one or other
    if one in NUMBERS and other in NUMBERS:
        return NUMBERS[max(NUMBERS.index(one), NUMBERS.index(other))]
    return "string"
