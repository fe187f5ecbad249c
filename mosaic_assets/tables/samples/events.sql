-- Flights that parse; tables are written folder.table.
select flight_id, aircraft, departs_at, arrived_at, delay_minutes, date_format(departs_at, 'yyyy-MM') as month
from raw.flights
where _rescued_data is null
