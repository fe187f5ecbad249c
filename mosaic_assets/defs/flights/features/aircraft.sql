-- The aircraft's latest known delay and turn-round.
select tailnum, event_ts, known_ts, arr_delay, dep_delay, turn_round_minutes, mean_arr_delay_3
from tables.aircraft_legs
