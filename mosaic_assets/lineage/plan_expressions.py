"""Which columns an expression of a Spark Connect plan uses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mosaic_assets.lineage.plan_columns import (
    NOTHING,
    Attribute,
    CannotTellError,
    Uses,
    all_uses,
    both,
    name_parts,
    resolve,
    resolve_exactly,
)

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Expression
    from sqlglot import exp

__all__ = ["Expressions"]

GENERATORS = {
    "explode", "explode_outer", "posexplode", "posexplode_outer", "inline", "inline_outer", "stack", "json_tuple",
    "variant_explode", "variant_explode_outer",
}  # fmt: skip
PYTHON = "A Python function hides which columns it uses."


@dataclass(frozen=True)
class Expressions:
    """Expressions over the output of one relation.

    Args:
        below: Output of the relation.
        subqueries: Plan id → output of a subquery.
        plan: Id of the relation whose output is made.
        tell: Is told why a column is unknown.
    """

    below: Sequence[Attribute]
    subqueries: Mapping[int, Sequence[Attribute]]
    plan: int
    tell: Callable[[str], None]

    def outputs(self, expression: "Expression") -> list[Attribute]:
        """Returns the columns that an expression of a SELECT makes; a star makes many.

        Raises:
            CannotTellError: It cannot be told how many.
        """
        kind = expression.WhichOneof("expr_type")
        if kind == "unresolved_star":
            return self._star(expression.unresolved_star)
        if kind == "expression_string":
            return self._text_outputs(expression.expression_string.expression)
        if kind == "unresolved_regex":
            raise CannotTellError("Columns chosen by a pattern are known to the engine alone.")
        if kind == "unresolved_attribute":
            return [self._reference(expression)]
        if kind == "alias":
            inner = expression.alias.expr
            return [self._new(name, self.safely(inner)) for name in expression.alias.name]
        function = expression.unresolved_function.function_name.lower() if kind == "unresolved_function" else ""
        if function in GENERATORS:
            raise CannotTellError(f"{function} makes columns whose number depends on the type; give them names.")
        return [self._new(None, self.safely(expression))]

    def safely(self, expression: "Expression") -> Uses | None:
        """Returns the columns that an expression uses; None where they cannot be told, and why is told."""
        try:
            return self.uses(expression)
        except CannotTellError as exc:
            self.tell(str(exc))
            return None

    def uses(self, expression: "Expression") -> Uses | None:
        """Returns the columns that an expression uses; None where one of them is unknown itself.

        Raises:
            CannotTellError: It holds something that hides them.
        """
        kind: str | None = expression.WhichOneof("expr_type")
        value: Any = getattr(expression, kind) if kind else None
        if kind == "unresolved_attribute":
            plan = value.plan_id if value.HasField("plan_id") else None
            return resolve_exactly(self.below, name_parts(value.unparsed_identifier), plan).uses
        if kind == "unresolved_function":
            if value.is_user_defined_function:
                raise CannotTellError(PYTHON)
            if value.function_name.lower() == "count":
                return self._all(one for one in value.arguments if one.WhichOneof("expr_type") != "unresolved_star")
            return self._all(value.arguments)
        if kind == "expression_string":
            return self._text_uses(_parsed(value.expression))
        if kind == "unresolved_star":
            return all_uses(self._star(value))
        if kind == "subquery_expression":
            return self._subquery(value)
        if kind is not None and kind in INNER:
            return self._all(INNER[kind](value))
        if kind in ("common_inline_user_defined_function", "call_function", "typed_aggregate_expression"):
            raise CannotTellError(PYTHON)
        if kind in ("literal", "unresolved_named_lambda_variable"):
            return NOTHING
        raise CannotTellError(f"An expression of kind '{kind}' is not followed.")

    def _all(self, expressions: Any) -> Uses | None:
        found: Uses | None = NOTHING
        for expression in expressions:
            found = both(found, self.uses(expression))
        return found

    def _new(self, name: str | None, uses: Uses | None) -> Attribute:
        return Attribute(name, uses, plans=frozenset({self.plan}))

    def _reference(self, expression: "Expression") -> Attribute:
        """Returns the column itself, still the same; a field of a struct is a new one."""
        told = expression.unresolved_attribute
        parts = name_parts(told.unparsed_identifier)
        try:
            found = resolve_exactly(self.below, parts, told.plan_id if told.HasField("plan_id") else None)
        except CannotTellError as exc:
            self.tell(str(exc))
            return self._new(parts[-1], None)
        return found.passed(self.plan) if found.named(parts[-1]) else self._new(parts[-1], found.uses)

    def _star(self, star: Any) -> list[Attribute]:
        found = [one for one in self.below if not star.HasField("plan_id") or star.plan_id in one.plans]
        if star.HasField("unparsed_target") and star.unparsed_target:
            owner = star.unparsed_target.removesuffix(".*").strip("`").lower()
            found = [one for one in found if owner in {name.lower() for name in one.qualifiers}]
            if not found:
                raise CannotTellError(f"'{star.unparsed_target}' may be the fields of a struct.")
        return [one.passed(self.plan) for one in found]

    def _subquery(self, told: Any) -> Uses | None:
        if told.plan_id not in self.subqueries or told.subquery_type not in (SCALAR, IN):
            raise CannotTellError("A subquery of this kind is not followed.")
        return both(all_uses(self.subqueries[told.plan_id]), self._all(told.in_subquery_values))

    def _text_outputs(self, text: str) -> list[Attribute]:
        from sqlglot import exp

        tree = _parsed(text)
        if isinstance(tree, exp.Star) and not tree.args.get("except_") and not tree.args.get("replace"):
            return [one.passed(self.plan) for one in self.below]
        if tree.is_star:
            raise CannotTellError(f"'{text}' is not followed.")
        inner = tree.unalias()
        try:
            uses = self._text_uses(inner)
        except CannotTellError as exc:
            self.tell(str(exc))
            uses = None
        if isinstance(tree, exp.Aliases):
            return [self._new(str(name), uses) for name in tree.aliases]
        if isinstance(inner, exp.Explode | exp.Posexplode | exp.Inline | exp.Stack) and not tree.alias:
            raise CannotTellError(f"'{text}' makes columns whose number depends on the type; give them names.")
        if isinstance(tree, exp.Column):
            parts = _column_parts(tree)
            same = resolve(self.below, parts)
            if len(same) == 1 and same[0].named(parts[-1]):
                return [same[0].passed(self.plan)]
            return [self._new(parts[-1], uses)]
        return [self._new(tree.alias or None, uses)]

    def _text_uses(self, tree: "exp.Expr") -> Uses | None:
        """Returns the columns that an expression written as SQL uses."""
        from pyspark.sql import functions
        from sqlglot import exp

        found: Uses | None = NOTHING
        for part in tree.walk():
            if isinstance(part, exp.Query):
                raise CannotTellError("A subquery in a text is not followed.")
            if isinstance(part, exp.Anonymous) and not hasattr(functions, str(part.this).lower()):
                raise CannotTellError(f"The function '{part.this}' may be one of Python.")
            if isinstance(part, exp.Column):
                found = both(found, resolve_exactly(self.below, _column_parts(part)).uses)
        return found


def _parsed(text: str) -> "exp.Expr":
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        tree: Any = sqlglot.parse_one(f"select {text}", read="spark")
        (projection,) = tree.selects
    except (SqlglotError, ValueError, AttributeError) as exc:
        raise CannotTellError(f"'{text}' is not read.") from exc
    return projection  # type: ignore[no-any-return]


def _column_parts(column: "exp.Column") -> list[str]:
    return [part.name for part in column.parts]


SCALAR, IN = 1, 4  # SubqueryExpression.SubqueryType
INNER: Mapping[str, Callable[[Any], Sequence[Any]]] = {
    "alias": lambda value: [value.expr],
    "cast": lambda value: [value.expr],
    "sort_order": lambda value: [value.child],
    "lambda_function": lambda value: [value.function],
    "unresolved_extract_value": lambda value: [value.child, value.extraction],
    "named_argument_expression": lambda value: [value.value],
    "update_fields": lambda value: [value.struct_expression, *_if_set(value, "value_expression")],
    "window": lambda value: [value.window_function, *value.partition_spec, *(one.child for one in value.order_spec)],
}


def _if_set(value: Any, name: str) -> list[Any]:
    return [getattr(value, name)] if value.HasField(name) else []
