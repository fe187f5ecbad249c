"""Rows with everything that a model reads: features as they were known, and the on-demand ones."""

from collections.abc import Callable, Sequence

import pyarrow as pa

from mosaic_assets.features.historical import get_historical_features
from mosaic_assets.features.model_columns import model_columns
from mosaic_assets.features.views import FeatureService, FeatureView
from mosaic_resources.bentos.on_demand import OnDemandFunction, computed_features
from mosaic_resources.bentos.specification import ASKED_AT
from mosaic_resources.errors import UnknownNameError

__all__ = ["join_features"]


def join_features(
    entity_df: pa.Table,
    service: FeatureService,
    read_view: Callable[[FeatureView], pa.Table],
    *,
    timestamp_field: str,
    request: Sequence[str],
    on_demand: OnDemandFunction | None,
) -> pa.Table:
    """Returns the rows with their features as they were known at each row's time, and the on-demand ones.

    The on-demand function is called here for training and for batches as it is called behind the endpoint.

    Args:
        entity_df: Rows with the request's columns and the time that they look from.
        service: Features to look up.
        read_view: Returns a view's rows.
        timestamp_field: Column with the time; the on-demand function sees it as ``asked_at``.
        request: Columns that a request holds.
        on_demand: The on-demand function, if any.

    Raises:
        UnknownNameError: A column is missing.
        OnDemandError: The on-demand function failed, or returned another number of rows.
    """
    joined = get_historical_features(entity_df, service, read_view, timestamp_field)
    for name in request:
        if name not in joined.column_names:
            raise UnknownNameError("column", name, joined.column_names, "rows to join")
    if on_demand is not None:
        asked = {ASKED_AT: joined[timestamp_field], **{name: joined[name] for name in (*request, *service.columns)}}
        for name, values in computed_features(on_demand, model_columns(asked), joined.num_rows).items():
            joined = joined.append_column(name, pa.array(values, from_pandas=True))
    return joined
