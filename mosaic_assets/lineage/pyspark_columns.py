"""Column lineage of a PySpark data frame, from the plan that the Connect client builds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mosaic_assets.lineage.columns import ColumnLineage
from mosaic_assets.lineage.plan_columns import CannotTellError
from mosaic_assets.lineage.plan_relations import PlanWalk

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

__all__ = ["frame_lineage"]


def frame_lineage(frame: "DataFrame", tables: Mapping[str, tuple[str, Sequence[str]]]) -> ColumnLineage:
    """Returns the column lineage of a data frame; what cannot be told is listed, never guessed.

    As for queries, an output column depends on the columns that its expression names, keys of windows included;
    filters, joins and groups, which decide the rows, are left out. Behind a function of Python nothing is known.

    Args:
        frame: A data frame of a Connect session; of a classic one nothing is known.
        tables: Address of a stored table, as the frame reads it → its name and columns.
    """
    names = list(frame.columns)
    plan = getattr(frame, "_plan", None)
    if plan is None:
        return _nothing(names, "A classic Spark session keeps its plan in the JVM.")
    client = frame.sparkSession.client  # type: ignore[attr-defined]
    walk = PlanWalk(tables)
    try:
        found = walk.outputs(plan.to_proto(client).root)
    except CannotTellError as exc:
        return _nothing(names, str(exc))
    except Exception as exc:  # Lineage alone fails softly: a plan of a newer client fails no table.
        return _nothing(names, f"The plan was not read: {type(exc).__name__}.")
    fits = len(found) == len(names) and all(
        one.name is None or one.named(name) for one, name in zip(found, names, strict=True)
    )
    if not fits or len({name.lower() for name in names}) != len(names):
        return _nothing(names, "The engine names other columns than the plan tells.")
    told = dict(zip(names, (one.uses for one in found), strict=True))
    unknown = tuple(name for name, uses in told.items() if uses is None)
    known = {name: tuple(sorted(uses)) for name, uses in told.items() if uses is not None}
    return ColumnLineage(known, unknown, " ".join(dict.fromkeys(walk.reasons)) if unknown else None)


def _nothing(names: Sequence[str], reason: str) -> ColumnLineage:
    return ColumnLineage({}, tuple(names), reason)
