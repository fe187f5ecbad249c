"""What SQL says badly: here each thing's events in order, with the amount of the one before. Put your own."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812


def transform(tables: dict[str, DataFrame], window: object) -> DataFrame:
    """Returns one row for each event.

    Args:
        tables: The declared tables by key.
        window: Start and end of the partitions of this run, if the table has partitions.
    """
    by_thing = Window.partitionBy("thing_id").orderBy("started_at", "event_id")
    before = F.lag("amount").over(by_thing)
    return tables["tables/events"].select("event_id", "thing_id", "started_at", before.alias("amount_before"))
