-- One row for each question. Put your own table and columns for:
select
  event_id,                                       -- what identifies a row (entity_key)
  thing_id, started_at,                           -- what a request holds (request), with the join keys of the views
  started_at - interval '2' hour as asked_at,     -- when it is asked: nothing that is known later is joined (timestamp_field)
  ended_at as label_known_ts,                     -- when the answer was known (label_known_field)
  cast(amount >= 15 as int) as label              -- the answer, 0 or 1 (label)
from tables.events
where ended_at is not null
