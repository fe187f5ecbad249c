"""Which tables a query names, where in its text, and the same text with other names in their place."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from mosaic_resources.errors import UserError

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["TableSpan", "parse_query", "rename_tables", "table_spans", "tables_of"]

DIALECT = "spark"


@dataclass(frozen=True)
class TableSpan:
    """One place in a query's text that stands for a table.

    Args:
        name: The table as written, quotes taken off: ``raw.flights``, ``delta./lake/raw/flights``.
        start: Index of its first character.
        end: Index after its last character.
        is_qualifier: Whether it is the prefix of a column (``raw.flights.origin``) instead of a source of rows.
    """

    name: str
    start: int
    end: int
    is_qualifier: bool = False


def tables_of(sql: str, where: str | None = None) -> list[str]:
    """Returns the tables that a query reads, as written, each once, in order; names of CTEs are none.

    Args:
        sql: One Spark SQL query.
        where: ``file:line`` for the error.

    Raises:
        UserError: The text is not one query.

    Example:
        >>> tables_of("with late as (select * from raw.flights) select * from late join raw.planes using (id)")
        ['raw.flights', 'raw.planes']
    """
    return list(dict.fromkeys(span.name for span in table_spans(sql, where) if not span.is_qualifier))


def rename_tables(sql: str, names: Mapping[str, str], where: str | None = None) -> str:
    """Returns the query with tables renamed, all other text (comments, strings, spaces) unchanged.

    Columns written with the table's name before them follow it, as ``flights.origin`` in a query over an
    unaliased ``raw.flights`` does.

    Args:
        sql: One Spark SQL query.
        names: Table as written → text to put in its place; tables that are not named stay.
        where: ``file:line`` for the error.

    Raises:
        UserError: The text is not one query.

    Example:
        >>> rename_tables("select origin from raw.flights -- raw.flights", {"raw.flights": "raw__flights"})
        'select origin from raw__flights -- raw.flights'
    """
    pieces, position = [], 0
    for span in table_spans(sql, where):
        if span.name in names:
            pieces += [sql[position : span.start], names[span.name]]
            position = span.end
    return "".join([*pieces, sql[position:]])


@lru_cache(maxsize=512)
def table_spans(sql: str, where: str | None = None) -> tuple[TableSpan, ...]:
    """Returns every place in the text that stands for a table, in order.

    Raises:
        UserError: The text is not one query.
    """
    from sqlglot import exp

    tree = parse_query(sql, where)
    tables = [table for table in tree.find_all(exp.Table) if _parts(table) and not _is_cte(table)]
    spans = [_span(table, len(table.parts)) for table in tables]
    sources = _sources(tree)
    for column in tree.find_all(exp.Column):
        owner = _owner(column, sources) if len(column.parts) > 1 else None
        if owner is not None:
            table, num_parts = owner
            spans.append(_span(column, num_parts, ".".join(table)))
    return tuple(sorted(spans, key=lambda span: span.start))


def parse_query(sql: str, where: str | None = None) -> "exp.Query | exp.Values":
    """Returns the syntax tree of one query; each identifier keeps its position in the text.

    Raises:
        UserError: The text does not parse, or is not one query.
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import ParseError, SqlglotError

    try:
        statements = [statement for statement in sqlglot.parse(sql, read=DIALECT) if statement is not None]
    except ParseError as exc:
        first = exc.errors[0] if exc.errors else {}
        place = f" at line {first.get('line')}, column {first.get('col')}" if first else ""
        raise UserError(f"The query is no Spark SQL{place}: {first.get('description') or exc}.", where) from exc
    except SqlglotError as exc:
        raise UserError(f"The query is no Spark SQL: {exc}.", where) from exc
    if len(statements) != 1 or not isinstance(statements[0], exp.Query | exp.Values):
        raise UserError("The text is not one query.", where, "Write one SELECT; the table is written by its component.")
    return statements[0]


def _parts(node: "exp.Table | exp.Column") -> list[str]:
    """Returns the dotted name, quotes taken off; empty for what has none (``range(10)``, ``values``)."""
    from sqlglot import exp

    parts = node.parts
    if any(not isinstance(part, exp.Identifier | exp.Star) for part in parts):
        return []
    return [part.name for part in parts]


def _span(node: "exp.Table | exp.Column", num_parts: int, name: str | None = None) -> TableSpan:
    first, last = node.parts[0], node.parts[num_parts - 1]
    text = ".".join(_parts(node)[:num_parts]) if name is None else name
    return TableSpan(text, first.meta["start"], last.meta["end"] + 1, is_qualifier=name is not None)


def _is_cte(table: "exp.Table") -> bool:
    """Returns whether the name is that of a WITH clause which the table can see: an earlier or an outer one."""
    from sqlglot import exp

    parts = _parts(table)
    node: exp.Expr = table
    while len(parts) == 1 and node.parent is not None:
        parent = node.parent
        clause = parent if isinstance(parent, exp.With) else parent.args.get("with_")
        if isinstance(clause, exp.With) and node is not clause:
            # Inside the clause a query sees the ones before it, and itself where the clause is recursive.
            inside = isinstance(parent, exp.With)
            visible = clause.expressions[: (node.index or 0) + bool(clause.recursive)] if inside else clause.expressions
            if any(cte.alias.lower() == parts[0].lower() for cte in visible):
                return True
        node = parent
    return False


@dataclass
class _Sources:
    """The sources of rows of one SELECT: the names that hide others, and the parts of tables without an alias."""

    names: set[str]
    tables: list[list[str]]


def _sources(tree: "exp.Expr") -> dict[int, _Sources]:
    from sqlglot import exp

    found: dict[int, _Sources] = {}
    for source in tree.find_all(exp.Table, exp.Subquery, exp.Lateral):
        of_select = found.setdefault(id(source.find_ancestor(exp.Select)), _Sources(set(), []))
        parts = _parts(source) if isinstance(source, exp.Table) else []
        if source.alias or (isinstance(source, exp.Table) and _is_cte(source)):
            of_select.names.add((source.alias or parts[0]).lower())
        elif parts:
            of_select.tables.append(parts)
    return found


def _owner(column: "exp.Column", sources: Mapping[int, _Sources]) -> tuple[list[str], int] | None:
    """Returns the unaliased table that the column's prefix names, and the length of the prefix; innermost first."""
    from sqlglot import exp

    written = [part.lower() for part in _parts(column)]
    select = column.find_ancestor(exp.Select)
    while select is not None:
        here = sources.get(id(select), _Sources(set(), []))
        if written[0] in here.names:
            return None
        for num_parts in range(len(written) - 1, 0, -1):
            for table in here.tables:
                if [part.lower() for part in table[-num_parts:]] == written[:num_parts]:
                    return table, num_parts
        select = select.find_ancestor(exp.Select)
    return None
