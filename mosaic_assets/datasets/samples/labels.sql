-- One row for each question: its key, what a request holds, when it is asked, the answer and when that was known.
select
  flight_id, aircraft, departs_at,
  departs_at - interval '2' hour as asked_at,
  arrived_at as label_known_ts,
  cast(delay_minutes >= 15 as int) as late
from tables.flights
where arrived_at is not null
