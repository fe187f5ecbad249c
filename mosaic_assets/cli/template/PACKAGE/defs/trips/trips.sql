-- Trips that parse; a trip that ends before it starts goes to the quarantine (defs.yaml).
select
  trip_id,
  station,
  started_at,
  ended_at,
  distance_km,
  (unix_timestamp(ended_at) - unix_timestamp(started_at)) / 60.0D as minutes,
  _source_file,
  _source_row
from raw.trips
where _rescued_data is null
