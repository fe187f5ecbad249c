"""Where the columns of a Spark Connect plan come from: a walk up its relations, each handled or called unknown."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
)
from mosaic_assets.lineage.plan_expressions import PYTHON, Expressions

if TYPE_CHECKING:
    from pyspark.sql.connect.proto import Relation

__all__ = ["PlanWalk"]

# What passes rows on, some or all, in whatever order: the columns are the same.
SAME_COLUMNS = {
    "filter", "sort", "limit", "offset", "tail", "sample", "deduplicate", "repartition", "repartition_by_expression",
    "hint", "with_watermark", "collect_metrics", "drop_na", "sample_by",
}  # fmt: skip
PYTHON_RELATIONS = {
    "map_partitions", "group_map", "co_group_map", "apply_in_pandas_with_state",
    "common_inline_user_defined_table_function", "common_inline_user_defined_data_source",
}  # fmt: skip
LEFT_ANTI, LEFT_SEMI = 5, 6
PIVOT = 4


@dataclass
class PlanWalk:
    """A walk over one plan.

    Args:
        tables: Address of a stored table → its name and columns.
    """

    tables: Mapping[str, tuple[str, Sequence[str]]]
    reasons: list[str] = field(default_factory=list)
    _subqueries: dict[int, Sequence[Attribute]] = field(default_factory=dict)
    _memo: dict[int, Sequence[Attribute]] = field(default_factory=dict)

    def outputs(self, relation: "Relation") -> Sequence[Attribute]:
        """Returns the output columns of a relation in order.

        Raises:
            CannotTellError: It cannot be told which columns it has.
        """
        kind, plan = relation.WhichOneof("rel_type"), relation.common.plan_id
        value: Any = getattr(relation, kind) if kind else None
        if kind in PYTHON_RELATIONS:
            raise CannotTellError(PYTHON)
        if kind in SAME_COLUMNS:
            return [one.passed(plan) for one in self.outputs(value.input)]
        made: Callable[[Any, int], Sequence[Attribute]] | None = getattr(self, f"_{kind}", None)
        if made is None:
            raise CannotTellError(f"A relation of kind '{kind}' is not followed.")
        if plan not in self._memo or not relation.HasField("common"):
            self._memo[plan] = made(value, plan)
        return self._memo[plan]

    def _read(self, value: Any, plan: int) -> Sequence[Attribute]:
        for path in value.data_source.paths if value.WhichOneof("read_type") == "data_source" else ():
            if len(value.data_source.paths) == 1 and path in self.tables:
                name, columns = self.tables[path]
                return [self._new(column, frozenset({(name, column)}), plan) for column in columns]
        raise CannotTellError("It reads what is no declared input.")

    def _local_relation(self, value: Any, plan: int) -> Sequence[Attribute]:
        import pyarrow as pa

        if not value.HasField("data"):
            raise CannotTellError("An empty local table is not followed.")
        with pa.ipc.open_stream(value.data) as stream:
            return [self._new(name, NOTHING, plan) for name in stream.schema.names]

    def _range(self, value: Any, plan: int) -> Sequence[Attribute]:
        return [self._new("id", NOTHING, plan)]

    def _project(self, value: Any, plan: int) -> Sequence[Attribute]:
        over = self._over(self.outputs(value.input) if value.HasField("input") else [], plan)
        return [one for expression in value.expressions for one in over.outputs(expression)]

    def _with_columns(self, value: Any, plan: int) -> Sequence[Attribute]:
        below = self.outputs(value.input)
        over = self._over(below, plan)
        made = [self._new(alias.name[0], over.safely(alias.expr), plan) for alias in value.aliases]
        new = {one.name.lower(): one for one in made if one.name}
        kept = [new.get((one.name or "").lower(), one.passed(plan)) for one in below]
        return [*kept, *(one for one in made if not any(old.named(one.name or "") for old in below))]

    def _with_columns_renamed(self, value: Any, plan: int) -> Sequence[Attribute]:
        found = list(self.outputs(value.input))
        renames = [(one.col_name, one.new_col_name) for one in value.renames] or [*value.rename_columns_map.items()]
        for old, new in renames:
            found = [self._new(new, one.uses, plan) if one.named(old) else one for one in found]
        return [one.passed(plan) for one in found]

    def _to_df(self, value: Any, plan: int) -> Sequence[Attribute]:
        below = self.outputs(value.input)
        if len(below) != len(value.column_names):
            raise CannotTellError("toDF names another number of columns.")
        return [self._new(name, one.uses, plan) for name, one in zip(value.column_names, below, strict=True)]

    def _to_schema(self, value: Any, plan: int) -> Sequence[Attribute]:
        below, names = self.outputs(value.input), [one.name for one in value.schema.struct.fields]
        return [self._new(name, all_uses(one for one in below if one.named(name)), plan) for name in names]

    def _drop(self, value: Any, plan: int) -> Sequence[Attribute]:
        kept = [one for one in self.outputs(value.input) if not any(one.named(name) for name in value.column_names)]
        for expression in value.columns:
            told = expression.unresolved_attribute
            if expression.WhichOneof("expr_type") != "unresolved_attribute":
                raise CannotTellError("What is dropped is no column.")
            gone = resolve(
                kept, name_parts(told.unparsed_identifier), told.plan_id if told.HasField("plan_id") else None
            )
            kept = [one for one in kept if not any(one is other for other in gone)]
        return [one.passed(plan) for one in kept]

    def _subquery_alias(self, value: Any, plan: int) -> Sequence[Attribute]:
        return [replace(one.passed(plan), qualifiers=frozenset({value.alias})) for one in self.outputs(value.input)]

    def _fill_na(self, value: Any, plan: int) -> Sequence[Attribute]:
        return [self._new(one.name, one.uses, plan) for one in self.outputs(value.input)]

    _replace = _fill_na

    def _join(self, value: Any, plan: int) -> Sequence[Attribute]:
        left, right = self.outputs(value.left), self.outputs(value.right)
        if value.join_type in (LEFT_ANTI, LEFT_SEMI):
            return [one.passed(plan) for one in left]
        shared = []
        for name in value.using_columns:
            sides = resolve(left, [name]), resolve(right, [name])
            if any(len(side) != 1 for side in sides):
                raise CannotTellError(f"The column '{name}' to join by is not found, or is ambiguous.")
            # Either side's value is the row's: both decide it.
            (here,), (there,) = sides
            shared.append(replace(here.passed(plan), uses=both(here.uses, there.uses)))
            left, right = [one for one in left if one is not here], [one for one in right if one is not there]
        return [*shared, *(one.passed(plan) for one in [*left, *right])]

    def _set_op(self, value: Any, plan: int) -> Sequence[Attribute]:
        left, right = self.outputs(value.left_input), self.outputs(value.right_input)
        if value.by_name:
            right = [*right]
            matches = [[one for one in right if one.named(mine.name or "")] for mine in left]
            extra = [one for one in right if not any(mine.named(one.name or "") for mine in left)]
            if any(len(found) > 1 for found in matches) or (extra and not value.allow_missing_columns):
                raise CannotTellError("The columns of the union do not match by name.")
            return [
                *(
                    self._new(mine.name, both(mine.uses, all_uses(found)), plan)
                    for mine, found in zip(left, matches, strict=True)
                ),
                *(self._new(one.name, one.uses, plan) for one in extra),
            ]
        if len(left) != len(right):
            raise CannotTellError("The two sides have another number of columns.")
        return [self._new(a.name, both(a.uses, b.uses), plan) for a, b in zip(left, right, strict=True)]

    def _aggregate(self, value: Any, plan: int) -> Sequence[Attribute]:
        if value.group_type == PIVOT:
            raise CannotTellError("Columns made by a pivot are known to the engine alone.")
        over = self._over(self.outputs(value.input), plan)
        parts = [*value.grouping_expressions, *value.aggregate_expressions]
        return [one for expression in parts for one in over.outputs(expression)]

    def _unpivot(self, value: Any, plan: int) -> Sequence[Attribute]:
        below = self.outputs(value.input)
        over = self._over(below, plan)
        ids = [one for expression in value.ids for one in over.outputs(expression)]
        melted = (
            [one for expression in value.values.values for one in over.outputs(expression)]
            if value.HasField("values")
            else [one for one in below if not any(one.named(kept.name or "") for kept in ids)]
        )
        variable = self._new(value.variable_column_name, NOTHING, plan)
        return [*ids, variable, self._new(value.value_column_name, all_uses(melted), plan)]

    def _with_relations(self, value: Any, plan: int) -> Sequence[Attribute]:
        named: dict[str, Sequence[Attribute]] = {}
        for reference in value.references:
            kind = reference.WhichOneof("rel_type")
            try:
                found = self.outputs(reference)
            except CannotTellError as exc:
                self.reasons.append(str(exc))
                continue
            self._subqueries[reference.common.plan_id] = found
            if kind == "subquery_alias":
                named[reference.subquery_alias.alias] = found
        if value.root.WhichOneof("rel_type") == "sql":
            return self._text(value.root.sql.query, named, plan)
        return [one.passed(plan) for one in self.outputs(value.root)]

    def _sql(self, value: Any, plan: int) -> Sequence[Attribute]:
        return self._text(value.query, {}, plan)

    def _text(self, query: str, named: Mapping[str, Sequence[Attribute]], plan: int) -> Sequence[Attribute]:
        """Returns the columns of a query over data frames, by the pass that follows our own queries."""
        from mosaic_assets.lineage.columns import column_lineage

        schemas = {name: [one.name or "" for one in found] for name, found in named.items()}
        told = column_lineage(query, schemas)
        if told.unknown:
            raise CannotTellError(told.reason or "A query in a text names what is not known.")
        made = []
        for column, used in told.known.items():
            behind = [one for table, name in used for one in named[table] if one.named(name)]
            made.append(self._new(column, all_uses(behind), plan))
        return made

    def _over(self, below: Sequence[Attribute], plan: int) -> Expressions:
        return Expressions(below, self._subqueries, plan, self.reasons.append)

    @staticmethod
    def _new(name: str | None, uses: Uses | None, plan: int) -> Attribute:
        return Attribute(name, uses, plans=frozenset({plan}))
