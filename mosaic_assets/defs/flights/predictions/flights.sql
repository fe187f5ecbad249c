-- Every flight of the month, asked about two hours before its scheduled departure; its arrival plays no part.
select
  flight_id, month, tailnum, origin, dest, carrier, flight, distance, sched_dep,
  sched_dep - interval '2' hour as asked_at
from tables.flights
where month between :partition_key_start and :partition_key_end
