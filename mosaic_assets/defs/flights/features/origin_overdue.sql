-- The share of flights that had not left twenty minutes after their schedule: a ground stop shows here before
-- any departure does. Known at the schedule plus twenty minutes.
with due as (
  select
    origin,
    sched_dep + interval '20' minute as known_ts,
    unix_timestamp(sched_dep) + 1200 as at_s,
    case when departed_at is null or departed_at > sched_dep + interval '20' minute then 1.0D else 0.0D end as overdue
  from tables.flights
)
select distinct
  origin,
  known_ts as event_ts,
  known_ts,
  avg(overdue) over (partition by origin order by at_s range between 3600 preceding and current row) as share_overdue_1h,
  avg(overdue) over (partition by origin order by at_s range between 10800 preceding and current row) as share_overdue_3h
from due
