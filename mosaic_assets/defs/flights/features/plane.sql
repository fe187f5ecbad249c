-- What the registry says of an aircraft; it does not change within the year.
select tailnum, timestamp '2013-01-01 00:00:00' as event_ts, timestamp '2013-01-01 00:00:00' as known_ts,
  cast(year as double) as built_in, cast(seats as double) as seats, cast(engines as double) as engines
from raw.planes
