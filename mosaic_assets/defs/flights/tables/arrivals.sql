-- When each flight's arrival was known: the scheduled arrival in the destination's time zone, rolled to the
-- next day where it would lie before the departure, plus the delay. The airports file lacks four destinations
-- in Puerto Rico and the Virgin Islands (SJU, BQN, PSE, STT); all of them keep America/Puerto_Rico's time.
with zoned as (
  select
    f.flight_id, f.month, f.carrier, f.tailnum, f.origin, f.dest, f.sched_dep, f.departed_at, f.dep_delay,
    a.arr_delay, a.air_time, a._source_file, a._source_row,
    to_utc_timestamp(
      cast(f.local_date as timestamp) + make_interval(0, 0, 0, 0, f.sched_arr_time div 100, f.sched_arr_time % 100, 0),
      coalesce(p.tzone, case when f.dest in ('SJU', 'BQN', 'PSE', 'STT') then 'America/Puerto_Rico' end)
    ) as sched_arr_same_day
  from tables.flights f
  join raw.arrivals a
    on a.year = year(f.local_date) and a.month = month(f.local_date) and a.day = dayofmonth(f.local_date)
   and a.carrier = f.carrier and a.flight = f.flight and a.origin = f.origin
   and to_utc_timestamp(make_timestamp(a.year, a.month, a.day, a.sched_dep_time div 100, a.sched_dep_time % 100, 0), 'America/New_York') = f.sched_dep
  left join raw.airports p on p.faa = f.dest
  where f.month between :partition_key_start and :partition_key_end
),
scheduled as (
  select *,
    case when sched_arr_same_day > sched_dep then sched_arr_same_day
         else sched_arr_same_day + interval '1' day end as sched_arr
  from zoned
)
select
  flight_id, month, carrier, tailnum, origin, dest, sched_dep, departed_at, dep_delay, sched_arr, arr_delay, air_time,
  sched_arr + make_interval(0, 0, 0, 0, 0, cast(arr_delay as int), 0) as known_ts,
  _source_file, _source_row
from scheduled
