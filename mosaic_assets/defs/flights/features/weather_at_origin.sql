-- Weather at the airport of departure; an observation is published an hour after its hour (known_delay).
select origin, observed_at as event_ts, temp, dewp, humid, wind_speed, wind_gust, precip, pressure, visib
from tables.weather
