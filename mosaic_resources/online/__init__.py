"""The online store: the newest known features of every entity, in fixed-width bytes."""
