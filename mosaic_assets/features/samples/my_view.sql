-- One row for each thing and moment. Put your own table and columns for:
select
  thing_id,                        -- the join keys of the entities
  ended_at as event_ts,            -- when it happened (timestamp_field)
  max(amount) as amount            -- the features of the schema, each by its name and type
from tables.events
where thing_id is not null and ended_at is not null
group by thing_id, ended_at
