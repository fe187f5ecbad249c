"""What a query may not use: functions whose values differ between the engines, or between two runs."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mosaic_assets.lineage.sql import parse_query

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["Refusal", "refusals"]

STABLE = "Use pmod(xxhash64(key, salt), n), which is the same on every engine and in every run."
CLOCK = "Use :partition_start or :partition_end; time comes in from the step."
# docs/engines.md says what differs; what is written as a plain function call, by its name in lower case.
FUNCTIONS = {
    "rand": ("rand() differs between engines, and its seed repeats.", STABLE),
    "randn": ("randn() differs between engines.", STABLE),
    "random": ("random() differs between engines.", STABLE),
    "uuid": ("uuid() differs in every run.", "Use sha2() of the row's key."),
    "shuffle": ("shuffle() differs in every run.", STABLE),
    "input_file_name": ("input_file_name() is not known to every engine.", "Read '_source_file' of the raw table."),
    "histogram_numeric": ("histogram_numeric() has other bins on other engines.", "Count into bins of your own."),
    "mode": ("mode() breaks ties differently on each engine.", "Use max_by(value, count) with an order of your own."),
    "now": ("now() is the machine's clock.", CLOCK),
    "current_timestamp": ("current_timestamp() is the machine's clock.", CLOCK),
    "current_date": ("current_date() is the machine's clock.", CLOCK),
    "localtimestamp": ("localtimestamp() is the machine's clock.", CLOCK),
    "tablesample": ("TABLESAMPLE picks other rows on each engine.", STABLE),
}


@dataclass(frozen=True)
class Refusal:
    """One thing in a query that is refused.

    Args:
        line: Line in the text, from 1; the line of the query's beginning where it is not known.
        what: What is wrong.
        do: What to do instead.
    """

    line: int
    what: str
    do: str


def refusals(query: str, where: str | None = None) -> list[Refusal]:
    """Returns what the query uses and may not, in order.

    Args:
        query: One Spark SQL query.
        where: File, for the error.

    Raises:
        UserError: The text is not one query.

    Example:
        >>> [one.what for one in refusals("select rand(7) as r from tables.flights")]
        ['rand() differs between engines, and its seed repeats.']
    """
    from sqlglot import exp

    found: dict[tuple[int, str], Refusal] = {}
    for node in parse_query(query, where).find_all(exp.Func, exp.TableSample):
        name = "tablesample" if isinstance(node, exp.TableSample) else _name(node)
        if name in FUNCTIONS:
            what, do = FUNCTIONS[name]
            line = _line(query, name)
            found.setdefault((line, name), Refusal(line, what, do))
    return sorted(found.values(), key=lambda refusal: refusal.line)


def _name(node: "exp.Expr") -> str:
    from sqlglot import exp

    if isinstance(node, exp.Anonymous):
        return node.name.lower()
    return node.sql_name().lower() if isinstance(node, exp.Func) else ""


def _line(query: str, name: str) -> int:
    place = re.search(rf"\b{name}\b", query, re.IGNORECASE)
    return query.count("\n", 0, place.start() if place else 0) + 1
