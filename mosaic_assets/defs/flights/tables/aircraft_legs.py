"""Each aircraft's flights out of New York, in the order in which their arrivals were known."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812


def transform(tables: dict[str, DataFrame], window: object) -> DataFrame:
    """Returns one row for each arrival of a known aircraft, with what came before it.

    ``turn_round_minutes`` is the time from the previous leg's arrival to this leg's departure;
    ``mean_arr_delay_3`` is the mean of this and the two arrivals before it.
    """
    arrivals = tables["tables/arrivals"].where("tailnum is not null and known_ts is not null")
    # Two arrivals of one aircraft in one minute cannot both be true: the later scheduled one stays.
    same_minute = Window.partitionBy("tailnum", "known_ts").orderBy(F.col("sched_dep").desc(), F.col("flight_id"))
    unique = arrivals.withColumn("place", F.row_number().over(same_minute)).where("place = 1")
    by_aircraft = Window.partitionBy("tailnum").orderBy("known_ts")
    since = F.unix_timestamp("departed_at") - F.unix_timestamp(F.lag("known_ts").over(by_aircraft))
    return unique.select(
        "tailnum",
        F.col("known_ts").alias("event_ts"),
        "known_ts",
        "arr_delay",
        "dep_delay",
        (since / F.lit(60.0)).alias("turn_round_minutes"),
        F.avg("arr_delay").over(by_aircraft.rowsBetween(-2, 0)).alias("mean_arr_delay_3"),
        F.unix_timestamp("sched_dep").alias("sched_dep_s"),
    ).drop("sched_dep_s")
