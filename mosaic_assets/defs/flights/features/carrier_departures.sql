-- How a carrier's departures at an airport have been running over the last three hours, as known at each of them.
with left_by as (
  select carrier, origin, departed_at, unix_timestamp(departed_at) as at_s, dep_delay
  from tables.flights
  where departed_at is not null
)
select distinct
  carrier,
  origin,
  departed_at as event_ts,
  departed_at as known_ts,
  avg(dep_delay) over (partition by carrier, origin order by at_s range between 10800 preceding and current row) as mean_dep_delay_3h,
  avg(case when dep_delay >= 15 then 1.0D else 0.0D end) over (partition by carrier, origin order by at_s range between 2592000 preceding and current row) as share_late_30d
from left_by
