-- The route's last 28 days, known at the end of each day (table made by dbt).
select origin, dest, event_ts, known_ts, mean_arr_delay_28d, share_late_28d, num_arrivals_28d
from marts.route_days
