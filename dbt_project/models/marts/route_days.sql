with days as (
  select
    origin,
    dest,
    date_trunc('DAY', known_ts) as day,
    sum(arr_delay) as sum_delay,
    sum(case when arr_delay >= 15 then 1.0D else 0.0D end) as num_late,
    count(*) as num_arrivals
  from {{ source('tables', 'arrivals') }}
  where known_ts is not null
  group by origin, dest, date_trunc('DAY', known_ts)
),
windows as (
  select
    origin,
    dest,
    day + interval '1' day as known_ts,
    sum(sum_delay) over (partition by origin, dest order by unix_timestamp(day) range between 2332800 preceding and current row) as sum_delay,
    sum(num_late) over (partition by origin, dest order by unix_timestamp(day) range between 2332800 preceding and current row) as num_late,
    sum(num_arrivals) over (partition by origin, dest order by unix_timestamp(day) range between 2332800 preceding and current row) as num_arrivals
  from days
)
select
  origin,
  dest,
  known_ts as event_ts,
  known_ts,
  sum_delay / num_arrivals as mean_arr_delay_28d,
  num_late / num_arrivals as share_late_28d,
  cast(num_arrivals as bigint) as num_arrivals_28d
from windows
