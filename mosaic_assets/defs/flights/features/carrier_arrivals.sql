-- How a carrier's arrivals have been running, as known at each of them.
with arrived as (
  select carrier, known_ts, unix_timestamp(known_ts) as at_s, arr_delay
  from tables.arrivals
)
select distinct
  carrier,
  known_ts as event_ts,
  known_ts,
  avg(arr_delay) over (partition by carrier order by at_s range between 10800 preceding and current row) as mean_arr_delay_3h,
  avg(case when arr_delay >= 15 then 1.0D else 0.0D end) over (partition by carrier order by at_s range between 604800 preceding and current row) as share_late_7d
from arrived
