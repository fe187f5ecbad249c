"""Columns that a query names and that none of its tables has, as far as the tables' columns are known."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mosaic_assets.lineage.sql import parse_query, rename_tables, tables_of
from mosaic_resources.errors import UserError

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope

__all__ = ["UnknownColumn", "output_columns", "unknown_columns"]

UNITS = {"YEAR", "QUARTER", "MONTH", "WEEK", "DAY", "HOUR", "MINUTE", "SECOND", "MILLISECOND", "MICROSECOND"}


@dataclass(frozen=True)
class UnknownColumn:
    """A column that is not there.

    Args:
        name: As written.
        line: Line of the query, from 1.
        tables: The tables that were looked at, as written; none where the column is looked for in a subquery.
        known: What there is instead, in lower case.
    """

    name: str
    line: int
    tables: tuple[str, ...]
    known: tuple[str, ...]

    def error(self, where: str) -> UserError:
        """Returns the error that says so, with the nearest name.

        Args:
            where: File of the query; the line is added.
        """
        near = difflib.get_close_matches(self.name.lower(), self.known, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(sorted(self.known)) or 'none'}."
        places = " or ".join(self.tables)
        what = f"Column '{self.name}' is not in {places or 'what is selected from'}."
        return UserError(what, f"{where}:{self.line}", hint)


def unknown_columns(query: str, schemas: Mapping[str, Iterable[str]]) -> list[UnknownColumn]:
    """Returns the columns that certainly are not there; whatever cannot be told is taken to be there.

    Args:
        query: One Spark SQL query.
        schemas: Table as written (``raw.flights``) → its columns; a table that is left out may have any column.

    Example:
        >>> [one.name for one in unknown_columns("select orign from raw.flights", {"raw.flights": ["origin"]})]
        ['orign']
    """
    look, root = _look(query, schemas)
    if look is None or root is None:
        return []
    found = {(one.line, one.name): one for scope in root.traverse() for one in look.unknown(scope)}
    return [found[key] for key in sorted(found)]


def output_columns(query: str, schemas: Mapping[str, Iterable[str]]) -> list[str] | None:
    """Returns the columns that a query gives, in lower case, sorted; None where they cannot be told.

    Args:
        query: One Spark SQL query.
        schemas: Table as written (``raw.flights``) → its columns.
    """
    look, root = _look(query, schemas)
    columns = look.outputs(root) if look is not None and root is not None else None
    return None if columns is None else sorted(columns)


def _look(query: str, schemas: Mapping[str, Iterable[str]]) -> "tuple[_Look, Scope] | tuple[None, None]":
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
    from sqlglot.optimizer.scope import build_scope

    try:
        flat = {name: f"mosaic_table_{number}__" for number, name in enumerate(tables_of(query))}
        tree = parse_query(rename_tables(query, flat))
        if tree.find(exp.Pivot) or any(clause.recursive for clause in tree.find_all(exp.With)):
            return None, None
        root = build_scope(tree)
    except (SqlglotError, UserError, RecursionError):
        return None, None
    if root is None:
        return None, None
    tables = {flat[name]: frozenset(column.lower() for column in schemas[name]) for name in flat if name in schemas}
    return _Look(tables, {flat_name: name for name, flat_name in flat.items()}), root


@dataclass(frozen=True)
class _Source:
    """What rows may come from: its name as written, if it is a table, and its columns (None: any)."""

    table: str | None
    columns: frozenset[str] | None


@dataclass
class _Look:
    """A look at the scopes of a query.

    Args:
        tables: Flat name → columns, of the tables whose columns are known.
        written: Flat name → name as written.
    """

    tables: Mapping[str, frozenset[str]]
    written: Mapping[str, str]

    def unknown(self, scope: "Scope") -> Iterator[UnknownColumn]:
        """Returns the columns of one SELECT, those of its subqueries left out, that are in none of its sources."""
        from sqlglot import exp
        from sqlglot.optimizer.scope import walk_in_scope

        select = scope.expression
        if not isinstance(select, exp.Select):
            return
        for column in walk_in_scope(select):
            if not isinstance(column, exp.Column) or isinstance(column.this, exp.Star) or _is_unit(column):
                continue
            owner, name = column.table.lower(), column.name.lower()
            sources = self._sources(scope, owner)
            may_have = any(source.columns is None or name in source.columns for source in sources)
            # A prefix that is no source is a struct; an alias of this SELECT may stand for a column.
            if column.args.get("db") or not sources or may_have or (not owner and name in _aliases(select, column)):
                continue
            yield UnknownColumn(
                column.name,
                column.this.meta.get("line", 1),
                tuple(sorted({source.table for source in sources if source.table})),
                tuple(sorted({one for source in sources for one in source.columns or ()})),
            )

    def _sources(self, scope: "Scope", owner: str) -> list[_Source]:
        """Returns the sources that a column may come from, those of outer queries included."""
        from sqlglot.optimizer.scope import ScopeType

        found: list[_Source] = []
        inside: Scope | None = scope
        while inside is not None:
            for name, (_, source) in inside.selected_sources.items():
                if not owner or name.lower() == owner:
                    found.append(self._source(source))
            inside = inside.parent if inside.scope_type in (ScopeType.SUBQUERY, ScopeType.SET_OPERATION) else None
        return found

    def _source(self, source: "Scope | exp.Expr") -> _Source:
        from sqlglot import exp

        if isinstance(source, exp.Table):
            return _Source(self.written.get(source.name), self.tables.get(source.name))
        return _Source(None, None if isinstance(source, exp.Expr) else self.outputs(source))

    def outputs(self, scope: "Scope") -> frozenset[str] | None:
        """Returns the columns that a subquery gives, or more; None where they cannot be told."""
        from sqlglot import exp

        query = scope.expression
        if scope.outer_columns:
            return frozenset(name.lower() for name in scope.outer_columns)
        if isinstance(query, exp.SetOperation):
            return None if query.args.get("by_name") else self.outputs(scope.set_operation_scopes[0])
        if not isinstance(query, exp.Select):
            return None
        found: set[str] = set()
        for projection in query.expressions:
            if projection.is_star:
                owner = projection.table.lower() if isinstance(projection, exp.Column) else ""
                sources = [source.columns for source in self._sources(scope, owner)]
                if not sources or any(columns is None for columns in sources):
                    return None
                found |= {column for columns in sources for column in columns or ()}
            elif not (names := _names(projection)):
                return None  # The engine makes a name up.
            else:
                found |= {name.lower() for name in names}
        return frozenset(found)


def _names(projection: "exp.Expr") -> list[str]:
    from sqlglot import exp

    if isinstance(projection, exp.Aliases):
        return [str(alias) for alias in projection.aliases]
    return [projection.alias_or_name] if isinstance(projection, exp.Alias | exp.Column | exp.Dot) else []


def _aliases(select: "exp.Select", column: "exp.Column") -> set[str]:
    """Returns the aliases that a SELECT gives, but that of the very expression that a column stands in."""
    from sqlglot import exp

    inside: exp.Expr = column
    while inside.parent is not None and inside.parent is not select:
        inside = inside.parent
    others = [one for one in select.expressions if one is not inside and isinstance(one, exp.Alias | exp.Aliases)]
    return {name.lower() for projection in others for name in _names(projection)}


def _is_unit(column: "exp.Column") -> bool:
    """Returns whether it is a word such as DAY in a function's arguments, or a column that the engine adds."""
    from sqlglot import exp

    return (column.name.upper() in UNITS and isinstance(column.parent, exp.Func)) or column.name == "_metadata"
