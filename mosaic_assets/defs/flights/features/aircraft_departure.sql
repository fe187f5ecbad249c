-- The aircraft's latest known departure from New York.
select tailnum, departed_at as event_ts, departed_at as known_ts, departed_at, max(dep_delay) as dep_delay
from tables.flights
where departed_at is not null
group by tailnum, departed_at
