"""A column that is not there is found; one that may be there never is."""

import pytest

from mosaic_assets.lineage.unknown_columns import unknown_columns
from mosaic_resources.errors import UserError

SCHEMAS = {
    "raw.trips": ["trip_id", "Station", "started_at", "distance_km", "stops", "place"],
    "raw.stations": ["station", "city"],
}


def found(query: str) -> list[tuple[str, int]]:
    return [(one.name, one.line) for one in unknown_columns(query, SCHEMAS)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select trip_id,\n  distance_kmm\nfrom raw.trips", [("distance_kmm", 2)]),
        ("select trip_id from raw.trips where distanse_km > 3 and stat is null", [("distanse_km", 1), ("stat", 1)]),
        ("select cast(distance_kmm as int) as distance_kmm from raw.trips", [("distance_kmm", 1)]),
        ("select t.tripid from raw.trips t", [("tripid", 1)]),
        ("select raw.trips.tripid from raw.trips", [("tripid", 1)]),
        ("select t.trip_id, s.town\nfrom raw.trips t\njoin raw.stations s using (station)", [("town", 1)]),
        ("select nothing from raw.trips join raw.stations using (station)", [("nothing", 1)]),
        ("with late as (select trip_id, distance_km as km from raw.trips)\nselect distance_km from late",
         [("distance_km", 2)]),
        ("with all_of as (select * from raw.trips) select trip_ids from all_of", [("trip_ids", 1)]),
        ("select * from (select trip_id as id from raw.trips) x where x.trip_id = 1", [("trip_id", 1)]),
        ("select trip_id from raw.trips union all select citi from raw.stations", [("citi", 1)]),
        ("select trip_id from raw.trips t where exists (select 1 from raw.stations s where s.city = t.city)",
         [("city", 1)]),
        ("select sum(km) over (partition by station order by start_at) from raw.trips", [("km", 1), ("start_at", 1)]),
        ("select transform(stops, stop -> stop + plus) from raw.trips", [("plus", 1)]),
        ("with t(a, b) as (select trip_id, station from raw.trips) select a, c from t", [("c", 1)]),
    ],
)  # fmt: skip
def test_columns_that_are_not_there(query: str, expected: list[tuple[str, int]]) -> None:
    assert found(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "select TRIP_ID, `station`, distance_km as km, km * 2 as twice from raw.trips order by twice",
        "select station, count(*) as n from raw.trips group by station having n > 1",
        "select place.lat, t.place.lon, place.deep.er from raw.trips t",
        "select anything from raw.trips t join raw.unknown using (station)",
        "select x.anything from raw.unknown x join raw.trips t on x.a = t.trip_id",
        "select item, t.trip_id from raw.trips t lateral view explode(stops) e as item where item > 2",
        "select anything from raw.trips lateral view explode(stops) e",
        "select transform(stops, stop -> stop + distance_km) from raw.trips",
        "select trip_id from raw.trips t where exists (select 1 from raw.stations where city = t.station)",
        "select trip_id from raw.trips where station in (select city from raw.stations where distance_km > 1)",
        "select * from (select trip_id, count(*) from raw.trips group by trip_id) where `count(1)` > 1",
        "with late as (select *, 1 as one from raw.trips) select one, trip_id from late",
        "with recursive r as (select 1 as n union all select n + 1 from r) select n from r",
        "select timestampdiff(MINUTE, started_at, started_at), dateadd(DAY, 1, started_at) from raw.trips",
        "select extract(hour from started_at), date_trunc('month', started_at), interval '2' hour from raw.trips",
        "select trip_id from raw.trips where started_at between :partition_start and :partition_end",
        "select * from raw.trips pivot (sum(distance_km) for station in ('park', 'museum'))",
        "select a.station, b.city from raw.trips as A join raw.stations as B on a.station = b.station",
        "select sum(distance_km) over w as s from raw.trips window w as (partition by station order by started_at)",
        "select col1 from values (1, 2)",
        "select v.a from values (1) as v(a)",
        "select id from range(10)",
        "select nonsense from",
    ],
)
def test_columns_that_may_be_there(query: str) -> None:
    assert found(query) == []


def test_error_says_where_and_what_is_near() -> None:
    (one,) = unknown_columns("select\n  distance_kmm\nfrom raw.trips", SCHEMAS)
    with pytest.raises(UserError, match=r"^t\.sql:2: Column 'distance_kmm' is not in raw\.trips\. .*'distance_km'\?$"):
        raise one.error("t.sql")
    (other,) = unknown_columns("select zzz from (select city as c from raw.stations)", SCHEMAS)
    assert str(other.error("t.sql")) == "t.sql:1: Column 'zzz' is not in what is selected from. Known: c."
