-- The join keys of the entity, the event time, the features of the schema.
select aircraft, arrived_at as event_ts, max(delay_minutes) as delay_minutes
from tables.flights
where aircraft is not null and arrived_at is not null
group by aircraft, arrived_at
