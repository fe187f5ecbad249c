"""Bentos: what a served model consists of, how one is built, how an endpoint process is run."""
