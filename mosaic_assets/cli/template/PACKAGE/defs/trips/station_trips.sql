-- Each trip tells of its station's last three, and is known when it has ended.
select
  station,
  ended_at as event_ts,
  ended_at as known_ts,
  avg(minutes) over (partition by station order by ended_at rows between 2 preceding and current row) as mean_minutes_3,
  distance_km
from tables.trips
