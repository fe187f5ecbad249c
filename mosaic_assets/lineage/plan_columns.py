"""Attributes of a relation in a Spark Connect plan, and how a column's name finds one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

__all__ = [
    "NOTHING",
    "Attribute",
    "CannotTellError",
    "Uses",
    "all_uses",
    "both",
    "name_parts",
    "resolve",
    "resolve_exactly",
]

Uses = frozenset[tuple[str, str]]
NOTHING: Uses = frozenset()


class CannotTellError(Exception):
    """A column, or all that a relation makes, cannot be told; the text says why."""


@dataclass(frozen=True)
class Attribute:
    """One output column of a relation.

    Args:
        name: Its name; None: the engine makes one up.
        uses: Stored (table, column) pairs that decide its value; None: cannot be told.
        qualifiers: Aliases by which it can be written (``t.a``).
        plans: Ids of the relations whose output it is unchanged, which ``df["a"]`` refers to.
    """

    name: str | None
    uses: Uses | None
    qualifiers: frozenset[str] = frozenset()
    plans: frozenset[int] = frozenset()

    def named(self, name: str) -> bool:
        """Returns whether it has the name; case does not matter."""
        return self.name is not None and self.name.lower() == name.lower()

    def passed(self, plan: int) -> "Attribute":
        """Returns it as the output of one more relation."""
        return replace(self, plans=self.plans | {plan})


def both(left: Uses | None, right: Uses | None) -> Uses | None:
    """Returns the uses of two parts of one expression; unknown where one is."""
    return None if left is None or right is None else left | right


def name_parts(text: str) -> list[str]:
    """Returns the parts of a column's name as it is written.

    Example:
        >>> name_parts("t.`a.b`.c"), name_parts("`it``s`")
        (['t', 'a.b', 'c'], ['it`s'])
    """
    parts, part, quoted, position = list[str](), "", False, 0
    while position < len(text):
        here = text[position]
        if quoted and text.startswith("``", position):
            part, position = part + "`", position + 1
        elif here == "`":
            quoted = not quoted
        elif here == "." and not quoted:
            parts, part = [*parts, part], ""
        else:
            part += here
        position += 1
    return [*parts, part]


def resolve(attributes: Sequence[Attribute], parts: Sequence[str], plan: int | None = None) -> list[Attribute]:
    """Returns the attributes that a name may mean; more than one is ambiguous.

    The longest match wins, as in Spark: qualifier and name, then the name alone; what follows are fields of a struct.

    Args:
        attributes: Output of the relation below.
        parts: The name's parts.
        plan: Id of the relation that it was taken from, as ``df["a"]`` does.
    """
    inside = [one for one in attributes if plan is None or plan in one.plans]
    if len(parts) > 1:
        qualified = [
            one
            for one in inside
            if one.named(parts[1]) and parts[0].lower() in {name.lower() for name in one.qualifiers}
        ]
        if qualified:
            return qualified
    return [one for one in inside if one.named(parts[0])]


def resolve_exactly(attributes: Sequence[Attribute], parts: Sequence[str], plan: int | None = None) -> Attribute:
    """Returns the one attribute that a name means.

    Raises:
        CannotTellError: There is none, or more than one.
    """
    found = resolve(attributes, parts, plan)
    if len(found) != 1:
        raise CannotTellError(f"The column '{'.'.join(parts)}' is not found, or is ambiguous.")
    return found[0]


def all_uses(attributes: Iterable[Attribute]) -> Uses | None:
    """Returns the uses of several attributes together."""
    found: Uses | None = NOTHING
    for one in attributes:
        found = both(found, one.uses)
    return found
