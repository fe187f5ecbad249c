-- The rows that parse; tables are written folder.table. Put your own columns, cast and named as you want them.
select event_id, thing_id, started_at, ended_at, amount, date_format(started_at, 'yyyy-MM') as month
from raw.events
where _rescued_data is null -- a row with a value that does not parse has it here, and stays in raw.events alone
