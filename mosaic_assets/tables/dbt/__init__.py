"""Tables made by dbt models, in the same graph."""
