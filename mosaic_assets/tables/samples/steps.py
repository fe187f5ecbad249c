"""Each aircraft's flights in order, with the delay of the one before."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812


def transform(tables: dict[str, DataFrame], window: object) -> DataFrame:
    """Returns one row for each flight."""
    by_aircraft = Window.partitionBy("aircraft").orderBy("departs_at", "flight_id")
    before = F.lag("delay_minutes").over(by_aircraft)
    return tables["tables/flights"].select("flight_id", "aircraft", "departs_at", before.alias("delay_before"))
