-- The label: did the flight arrive 15 minutes late or more? Known when the arrival is known.
select flight_id, month, sched_dep, known_ts as label_known_ts, cast(arr_delay >= 15 as int) as late
from tables.arrivals
where month between :partition_key_start and :partition_key_end
