-- Flights as scheduled and as they left, times in UTC. All origins are New York's airports.
with typed as (
  select
    concat_ws('_', carrier, cast(flight as string), origin, cast(make_date(year, month, day) as string), lpad(cast(sched_dep_time as string), 4, '0')) as flight_id,
    concat(cast(year as string), '-', lpad(cast(month as string), 2, '0')) as month,
    carrier, cast(flight as bigint) as flight, tailnum, origin, dest, distance, dep_delay, sched_arr_time,
    make_date(year, month, day) as local_date,
    to_utc_timestamp(make_timestamp(year, month, day, sched_dep_time div 100, sched_dep_time % 100, 0), 'America/New_York') as sched_dep,
    _source_file, _source_row
  from raw.flights
  where _rescued_data is null
)
select
  flight_id, month, carrier, flight, tailnum, origin, dest, distance, sched_arr_time, local_date, sched_dep,
  dep_delay,
  sched_dep + make_interval(0, 0, 0, 0, 0, cast(dep_delay as int), 0) as departed_at,
  _source_file, _source_row
from typed
where month between :partition_key_start and :partition_key_end
