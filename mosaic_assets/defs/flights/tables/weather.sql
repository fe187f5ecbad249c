-- Hourly weather at the three origins, UTC.
select
  origin,
  concat(cast(year as string), '-', lpad(cast(month as string), 2, '0')) as month,
  time_hour as observed_at,
  max(temp) as temp, max(dewp) as dewp, max(humid) as humid, max(wind_speed) as wind_speed,
  max(wind_gust) as wind_gust, max(precip) as precip, max(pressure) as pressure, max(visib) as visib
from raw.weather
where _rescued_data is null
  and concat(cast(year as string), '-', lpad(cast(month as string), 2, '0')) between :partition_key_start and :partition_key_end
group by origin, year, month, time_hour
