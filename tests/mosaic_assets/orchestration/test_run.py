"""A run in this process tells what it does while it does it, and raises what its step raised."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from mosaic_assets.orchestration.run import materialize, num_steps
from mosaic_assets.orchestration.ticker import Ticker
from mosaic_resources.errors import DependencyError, MosaicError, UnknownNameError

TOLD: list[str] = []


@dg.asset(key=["raw", "trips"])
def trips(context: dg.AssetExecutionContext) -> None:
    context.log.info("reads a file")
    context.log.debug("for developers")
    TOLD.append("inside raw/trips")


@dg.multi_asset(
    specs=[dg.AssetSpec(["marts", "a"], deps=[["raw", "trips"]]), dg.AssetSpec(["marts", "b"])], can_subset=True
)
def marts(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
    for key in sorted(context.selected_asset_keys):
        yield dg.MaterializeResult(asset_key=key)


@dg.asset(key=["models", "down"])
def down() -> None:
    raise DependencyError("The engine died.", "models/down", "Run it again.")


@dg.asset(key=["models", "wrong"])
def wrong() -> None:
    raise ZeroDivisionError("by zero")


@dg.asset(key=["models", "unknown"])
def unknown() -> None:
    raise UnknownNameError("column", "distanse", ["distance"], "models/unknown")


@dg.asset(required_resource_keys={"lake"})
def needy() -> None:
    """Never runs: its resource does not open."""


DEFS = dg.Definitions([trips, marts, down, wrong, unknown], executor=dg.in_process_executor)


class Written(Ticker):
    def begun(self, step: str) -> None:
        TOLD.append(f"begun {step}")

    def done(self, step: str) -> None:
        TOLD.append(f"done {step}")

    def note(self, text: str, part: float = 0.0) -> None:
        TOLD.append(text)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def test_steps_are_told_while_the_run_goes(instance: dg.DagsterInstance) -> None:
    TOLD.clear()
    keys = ["raw/trips", "marts/a", "marts/b"]
    assert num_steps(DEFS, keys) == 2
    materialize(DEFS, instance, keys, ticker=Written())
    first = ["begun raw/trips", "reads a file", "inside raw/trips", "done raw/trips"]
    assert [*first, "begun marts/a", "done marts/a"] == TOLD


def test_error_of_a_step_comes_out_as_it_went_in(instance: dg.DagsterInstance) -> None:
    with pytest.raises(DependencyError, match=r"^models/down: The engine died\. Run it again\.$") as raised:
        materialize(DEFS, instance, ["models/down"])
    assert (raised.value.what, raised.value.where, raised.value.do) == (
        "The engine died.", "models/down", "Run it again.",
    )  # fmt: skip
    with pytest.raises(UnknownNameError, match=r"Did you mean 'distance'\?"):
        materialize(DEFS, instance, ["models/unknown"])


def test_error_that_is_not_ours_names_asset_and_kind(instance: dg.DagsterInstance) -> None:
    with pytest.raises(MosaicError, match=r"^models/wrong: ZeroDivisionError: by zero$") as raised:
        materialize(DEFS, instance, ["models/wrong"])
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_run_that_cannot_begin_says_so(instance: dg.DagsterInstance) -> None:
    with pytest.raises(UnknownNameError, match=r"asset 'raw/trip' .*'raw/trips'"):
        materialize(DEFS, instance, ["raw/trip"])
    resources = {"lake": dg.ResourceDefinition(lambda _: 1 / 0)}
    broken = dg.Definitions([needy], resources=resources, executor=dg.in_process_executor)
    with pytest.raises(MosaicError, match=r"^run [0-9a-f-]{36}: The run failed before its first step\. See"):
        materialize(broken, instance, ["needy"])
