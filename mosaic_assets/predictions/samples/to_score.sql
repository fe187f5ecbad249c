-- The rows to score: keys, what a request holds, the time that is asked at, the partition's column. Their label plays no part.
select event_id, thing_id, started_at, started_at - interval '2' hour as asked_at, month
from tables.events
where month between :partition_key_start and :partition_key_end
