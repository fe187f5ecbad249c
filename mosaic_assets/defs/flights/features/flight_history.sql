-- The same flight number's last 28 days, as known at each of its arrivals.
with arrived as (
  select f.carrier, f.flight, f.origin, a.known_ts, unix_timestamp(a.known_ts) as at_s, a.arr_delay
  from tables.arrivals a
  join tables.flights f on f.flight_id = a.flight_id
)
select distinct
  carrier,
  flight,
  origin,
  known_ts as event_ts,
  known_ts,
  avg(arr_delay) over (partition by carrier, flight, origin order by at_s range between 2419200 preceding and current row) as mean_arr_delay_28d,
  avg(case when arr_delay >= 15 then 1.0D else 0.0D end) over (partition by carrier, flight, origin order by at_s range between 2419200 preceding and current row) as share_late_28d,
  count(*) over (partition by carrier, flight, origin order by at_s range between 2419200 preceding and current row) as num_arrivals_28d
from arrived
