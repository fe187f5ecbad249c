-- The rows to score; their label plays no part.
select flight_id, aircraft, departs_at, departs_at - interval '2' hour as asked_at, month
from tables.flights
where month between :partition_key_start and :partition_key_end
