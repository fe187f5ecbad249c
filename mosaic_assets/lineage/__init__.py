"""Lineage: what every step read and wrote, as OpenLineage events and as the way from a prediction to its files.

A step runs in ``step.step`` and says what it read and wrote (``record``); that is stored in the outbox (``stored``)
and costs a fraction of a millisecond. ``send`` turns it into OpenLineage events (``events``, ``facets``, ``names``)
and delivers them. ``trace`` walks the same rows; ``render`` shows the walk. ``sql`` and ``columns`` read queries.
"""
