-- How departures at an airport have been running, as known at each departure: over the last hour and three hours.
with left_by as (
  select origin, departed_at, unix_timestamp(departed_at) as at_s, dep_delay
  from tables.flights
  where departed_at is not null
)
select distinct
  origin,
  departed_at as event_ts,
  departed_at as known_ts,
  avg(dep_delay) over (partition by origin order by at_s range between 3600 preceding and current row) as mean_dep_delay_1h,
  avg(dep_delay) over (partition by origin order by at_s range between 10800 preceding and current row) as mean_dep_delay_3h,
  avg(case when dep_delay >= 15 then 1.0D else 0.0D end) over (partition by origin order by at_s range between 10800 preceding and current row) as share_late_3h,
  count(*) over (partition by origin order by at_s range between 3600 preceding and current row) as num_departures_1h
from left_by
