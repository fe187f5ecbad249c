"""Arrow schemas as Delta keeps them, and the comparison made before every write."""

import pyarrow as pa

from mosaic_resources.errors import UserError

__all__ = ["canonical", "canonical_type", "check_fits", "schema_rows"]


def canonical_type(kind: pa.DataType) -> pa.DataType:
    """Returns the type that Delta stores: views and large strings become plain, times microseconds."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_dictionary(kind):
        return canonical_type(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(canonical_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(canonical_type(field.type)) for field in kind])
    return kind


def canonical(table: pa.Table, where: str) -> pa.Table:
    """Returns the table with the types that Delta stores, all columns nullable, no metadata.

    Args:
        table: Any Arrow table.
        where: Asset or table name for the message.

    Raises:
        UserError: A column has no type (all values NULL and no cast).
    """
    untyped = [field.name for field in table.schema if pa.types.is_null(field.type)]
    if untyped:
        raise UserError(f"Column '{untyped[0]}' has no type.", where, "Cast it, for instance CAST(NULL AS STRING).")
    target = pa.schema([pa.field(f.name, canonical_type(f.type)) for f in table.schema])
    return table.replace_schema_metadata(None).cast(target)


def check_fits(data: pa.Schema, stored: pa.Schema, where: str, *, evolve: bool) -> None:
    """Ensures that a write changes no value and no type silently.

    The storage layer itself casts 3.7 into a bigint as 3, so the types are compared first.

    Args:
        data: Canonical schema of the rows to write.
        stored: Schema of the table.
        where: Asset or table name for the message.
        evolve: Whether new columns may be added.

    Raises:
        UserError: A type differs, or columns are missing or new where they may not be.
    """
    for field in data:
        position = stored.get_field_index(field.name)
        if position < 0 and not evolve:
            raise UserError(f"Column '{field.name}' is not in the table.", where, "Allow it with an evolution mode.")
        if position >= 0 and canonical_type(stored.field(position).type) != field.type:
            raise UserError(
                f"Column '{field.name}' is {field.type} but the table has {stored.field(position).type}.",
                where,
                "Cast it in the transform; values are never cast silently.",
            )
    missing = [name for name in stored.names if name not in data.names]
    if missing and not evolve:
        raise UserError(f"Column '{missing[0]}' of the table is missing in the rows to write.", where)


def schema_rows(schema: pa.Schema) -> list[tuple[str, str]]:
    """Returns ``(column, type)`` pairs for people and lineage events."""
    return [(field.name, str(field.type)) for field in schema]
