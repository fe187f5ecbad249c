"""Column lineage of a Spark SQL query: for each output column, the table columns that decide its value."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mosaic_assets.lineage.sql import DIALECT, parse_query, rename_tables, tables_of
from mosaic_resources.errors import UserError

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.optimizer.scope import Scope

__all__ = ["ColumnLineage", "column_lineage"]

Uses = frozenset[tuple[str, str]]
NOTHING: Uses = frozenset()


@dataclass(frozen=True)
class ColumnLineage:
    """Where the columns of a query's result come from.

    Args:
        known: Output column → (table as written, column), sorted; empty for a constant or ``count(*)``.
        unknown: Output columns that cannot be told: their name, their text where they have none, or ``*``.
        reason: Why nothing is known, where the whole query could not be read.
    """

    known: Mapping[str, tuple[tuple[str, str], ...]]
    unknown: tuple[str, ...] = ()
    reason: str | None = None


def column_lineage(query: str, schemas: Mapping[str, Iterable[str]]) -> ColumnLineage:
    """Returns the column lineage of a query; what cannot be told is listed, never guessed.

    An output column depends on the columns that its expression names, window and correlated subquery keys
    included; filters, joins and groups, which decide the rows, are left out.

    Args:
        query: One Spark SQL query.
        schemas: Table as written (``raw.flights``) → its columns; a mapping of column to type will do.

    Example:
        >>> lineage = column_lineage("select *, dep + 1 as late from raw.flights", {"raw.flights": ["id", "dep"]})
        >>> lineage.known
        {'id': (('raw.flights', 'id'),), 'dep': (('raw.flights', 'dep'),), 'late': (('raw.flights', 'dep'),)}
    """
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope

    try:
        # Flat names: the optimizer knows at most three levels, asset keys have any number.
        flat = {name: f"mosaic_table_{number}__" for number, name in enumerate(tables_of(query))}
        tree = parse_query(rename_tables(query, flat))
        if tree.find(exp.Pivot):
            return ColumnLineage({}, ("*",), "Columns made by PIVOT are known to the engine alone.")
        if any(clause.recursive for clause in tree.find_all(exp.With)):
            return ColumnLineage({}, ("*",), "The columns of a recursive query are not followed.")
        stored = {flat[name]: _Stored(name, {c.lower(): c for c in schemas[name]}) for name in flat if name in schemas}
        spelling = _spelling(tree, stored)
        schema: dict[str, object] = {name: dict.fromkeys(table.columns, "unknown") for name, table in stored.items()}
        qualified = qualify(
            tree, schema=schema, dialect=DIALECT,
            expand_alias_refs=False, validate_qualify_columns=False, quote_identifiers=False,
        )  # fmt: skip
        root = build_scope(qualified)
        if root is None:
            return ColumnLineage({}, ("*",), "The query has no SELECT.")
        written = {table: name for name, table in flat.items()}
        return _result(_Walk(root, stored).outputs(root), spelling, written)
    except (SqlglotError, UserError, RecursionError) as exc:
        return ColumnLineage({}, ("*",), str(exc))


def _result(outputs: "Sequence[_Output]", spelling: Mapping[str, str], written: Mapping[str, str]) -> ColumnLineage:
    merged: dict[str, Uses | None] = {}
    for output in outputs:
        name = spelling.get(output.name, output.name) if output.name else output.text
        for flat, table in written.items() if output.name is None else ():
            name = name.replace(flat, table)
        uses = None if output.name is None else output.uses
        merged[name] = _both(merged[name], uses) if name in merged else uses
    known = {name: tuple(sorted(uses)) for name, uses in merged.items() if uses is not None}
    return ColumnLineage(known, tuple(name for name, uses in merged.items() if uses is None))


def _spelling(tree: "exp.Expr", stored: "Mapping[str, _Stored]") -> dict[str, str]:
    """Returns the spelling of each lower-case column name: the result's own, else an inner one, else the table's."""
    from sqlglot import exp

    spelled = {low: name for table in stored.values() for low, name in table.columns.items()}
    inner = [alias.alias for alias in tree.find_all(exp.Alias)]
    outer = [projection.alias_or_name for projection in getattr(tree, "selects", [])]
    return spelled | {name.lower(): name for name in (*inner, *outer)}


def _both(left: Uses | None, right: Uses | None) -> Uses | None:
    return None if left is None or right is None else left | right


@dataclass(frozen=True)
class _Stored:
    """A stored table: its name as written, and its columns by their lower-case name."""

    name: str
    columns: Mapping[str, str]


@dataclass(frozen=True)
class _Output:
    """One output column: its name (None: the engine makes one up), its text, and its uses (None: unknown)."""

    name: str | None
    text: str
    uses: Uses | None


@dataclass
class _Walk:
    """A walk down the scopes of a qualified query."""

    root: "Scope"
    tables: Mapping[str, _Stored]
    _scopes: "dict[int, Scope]" = field(init=False)
    _memo: dict[int, list[_Output]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._scopes = {id(scope.expression): scope for scope in self.root.traverse()}

    def outputs(self, scope: "Scope") -> list[_Output]:
        """Returns the output columns of a scope in order; a star stands where it cannot be expanded."""
        from sqlglot import exp

        key = id(scope.expression)
        if key not in self._memo:
            self._memo[key] = [_Output("*", "*", None)]  # until it is known
            is_union = isinstance(scope.expression, exp.SetOperation)
            self._memo[key] = self._union(scope) if is_union else self._select(scope)
        return self._memo[key]

    def _union(self, scope: "Scope") -> list[_Output]:
        left, right = (self.outputs(branch) for branch in scope.set_operation_scopes)
        if len(left) != len(right) or scope.expression.args.get("by_name"):
            return [_Output("*", "*", None)]
        return [_Output(a.name, a.text, _both(a.uses, b.uses)) for a, b in zip(left, right, strict=True)]

    def _select(self, scope: "Scope") -> list[_Output]:
        from sqlglot import exp

        if isinstance(scope.expression, exp.Subquery):
            inner = self._scopes.get(id(scope.expression.unnest()))
            return self.outputs(inner) if inner is not None else [_Output("*", "*", None)]
        found: list[_Output] = []
        for projection in scope.expression.expressions if isinstance(scope.expression, exp.Select) else ():
            text, name = projection.unalias().sql(DIALECT), projection.alias_or_name
            if isinstance(projection, exp.Aliases):
                found += [_Output(str(alias), text, self.uses(scope, projection)) for alias in projection.aliases]
            elif projection.is_star:
                found.append(_Output("*", "*", None))
            else:
                found.append(_Output(None if name.startswith("_col_") else name, text, self.uses(scope, projection)))
        return found

    def uses(self, scope: "Scope", node: "exp.Expr") -> Uses | None:
        """Returns the stored columns that an expression names; None where one of them cannot be told."""
        from sqlglot import exp

        found: Uses | None = NOTHING
        for part in node.walk(prune=lambda part: isinstance(part, exp.Query) and part is not node):
            if isinstance(part, exp.Column):
                found = _both(found, self._column(scope, part))
            elif isinstance(part, exp.Query):
                found = _both(found, self._subquery(part))
            elif isinstance(part, exp.Window) and isinstance(part.args.get("alias"), exp.Identifier):
                found = _both(found, self._named_window(scope, part.args["alias"].name))
        return found

    def _subquery(self, query: "exp.Query") -> Uses | None:
        from sqlglot import exp

        inner = self._scopes.get(id(query.unnest()))
        if inner is None:
            return None
        if not isinstance(query.parent, exp.Exists):
            return self._all(output.uses for output in self.outputs(inner))
        # Its truth depends on the filter, not on what it selects.
        nested = self._all(output.uses for scope in inner.subquery_scopes for output in self.outputs(scope))
        return _both(nested, self._all(self._column(inner, column) for column in inner.find_all(exp.Column)))

    def _named_window(self, scope: "Scope", name: str) -> Uses | None:
        windows = [window for window in scope.expression.args.get("windows") or () if window.name == name]
        return self._all(self.uses(scope, child) for window in windows for child in window.iter_expressions())

    def _column(self, scope: "Scope", column: "exp.Column") -> Uses | None:
        """Returns the stored columns behind one column of a scope, looked up outwards."""
        if not column.table:
            return self._earlier_alias(scope, column)
        inside: Scope | None = scope
        while inside is not None:
            if column.table in inside.sources:
                return self._of_source(inside.sources[column.table], column.name)
            inside = inside.parent
        return None

    def _of_source(self, source: "Scope | exp.Expr", name: str) -> Uses | None:
        from sqlglot import exp

        if isinstance(source, exp.Table):
            stored = self.tables.get(source.name)
            return frozenset({(stored.name, stored.columns[name])}) if stored and name in stored.columns else None
        if not isinstance(source, exp.Expr) and source.is_udtf:  # explode(...) and the like
            return self.uses(source, source.expression) if name in source.outer_columns else None
        matches = [output.uses for output in self.outputs(source) if output.name == name]  # type: ignore[arg-type]
        return matches[0] if len(matches) == 1 else None

    def _earlier_alias(self, scope: "Scope", column: "exp.Column") -> Uses | None:
        """Returns the uses of an alias to the left in the same SELECT, which Spark falls back to."""
        if any(self._may_have(source, column.name) for _, source in scope.selected_sources.values()):
            return None
        inside: exp.Expr = column
        while inside.parent is not None and inside.parent is not scope.expression:
            inside = inside.parent
        earlier = scope.expression.expressions[: inside.index or 0] if inside.arg_key == "expressions" else []
        matches = [projection for projection in earlier if projection.alias == column.name]
        return self.uses(scope, matches[0]) if len(matches) == 1 else None

    def _may_have(self, source: "Scope | exp.Expr", name: str) -> bool:
        from sqlglot import exp

        if isinstance(source, exp.Table):
            return source.name not in self.tables or name in self.tables[source.name].columns
        if not isinstance(source, exp.Expr) and source.is_udtf:
            return not source.outer_columns or name in source.outer_columns
        return any(output.name in (None, "*", name) for output in self.outputs(source))  # type: ignore[arg-type]

    @staticmethod
    def _all(parts: Iterable[Uses | None]) -> Uses | None:
        found: Uses | None = NOTHING
        for part in parts:
            found = _both(found, part)
        return found
