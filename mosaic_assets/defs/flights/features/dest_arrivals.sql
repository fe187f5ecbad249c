-- How arrivals at a destination have been running, as known at each of them.
with arrived as (
  select dest, known_ts, unix_timestamp(known_ts) as at_s, arr_delay
  from tables.arrivals
)
select distinct
  dest,
  known_ts as event_ts,
  known_ts,
  avg(arr_delay) over (partition by dest order by at_s range between 10800 preceding and current row) as mean_arr_delay_3h,
  avg(arr_delay) over (partition by dest order by at_s range between 86400 preceding and current row) as mean_arr_delay_24h
from arrived
