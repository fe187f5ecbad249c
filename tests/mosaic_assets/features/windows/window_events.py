"""Events and views for the tests: times are whole minutes."""

from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import strategies as st

from mosaic_assets.features.views import Entity, FeatureRef, FeatureService, Field
from mosaic_assets.features.windows.aggregations import FUNCTIONS, Aggregation, WindowedView

MINUTE = 60_000_000
TIME = pa.timestamp("us", tz="UTC")
VALUES = (None, float("nan"), 0.0, -0.5, 0.1, 1e-9, 3.0, 3.0, 7.25, 1e9)
# Key (NULL among them), event time, lateness, value; few of each, so that there are ties.
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([None, "a", "b"]), st.integers(0, 24),
        st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 30)), st.sampled_from(VALUES),
    ),
    max_size=16,
)  # fmt: skip


def minutes(number):
    return datetime.fromtimestamp(number * 60, UTC)


def table(rows):
    """Returns (key, event, known, value) rows as a source table."""
    key, event, known, value = zip(*rows, strict=True) if rows else ((),) * 4
    return pa.table(
        {
            "k": pa.array(key, pa.string()),
            "at": pa.array([minutes(e) for e in event], TIME),
            "known": pa.array([minutes(k) for k in known], TIME),
            "x": pa.array(value, pa.float64(), from_pandas=False),
        }
    )


def late(draws):
    """Returns (key, event, known, value) rows of draws with a lateness."""
    return [(key, event, event + lateness, value) for key, event, lateness, value in draws]


def view(*, slide=0, windows=(3, 9), delay=None, name="v"):
    """Returns a view of every function over each window."""
    made = []
    for window in windows:
        for function, kind in (("rows", "int64"), *FUNCTIONS.items()):
            named = f"{function}_{window}"
            own = "count" if function == "rows" else function
            column = None if function == "rows" else "x"
            field = Field(named, kind or "float64")
            made.append(Aggregation(named, own, column, window * MINUTE, slide * MINUTE, field))
    created, known_delay = ("known", 0) if delay is None else (None, delay * MINUTE)
    return WindowedView(name, (Entity("e", ("k",)),), "raw/events", "at", created, known_delay, tuple(made))


def service(made):
    """Returns a feature service of all features of a view."""
    return FeatureService.of("s", [made.feature_view], [FeatureRef(made.name, "*")])
