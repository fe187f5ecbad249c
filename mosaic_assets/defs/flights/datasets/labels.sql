-- The question, asked two hours before scheduled departure: will the flight arrive 15 minutes late or more?
select
  f.flight_id, f.tailnum, f.origin, f.dest, f.carrier, f.flight, f.distance, f.sched_dep,
  f.sched_dep - interval '2' hour as asked_at,
  o.label_known_ts,
  o.late
from tables.flights f
join tables.outcomes o on o.flight_id = f.flight_id
