"""Which assets a command means, and what it takes up again."""

import dagster as dg
import pytest

from mosaic_assets.orchestration.pending import Pending
from mosaic_assets.orchestration.selection import changed_keys, never_made, partitioned_runs, select
from mosaic_resources.errors import UnknownNameError, UserError

MONTHS = dg.StaticPartitionsDefinition(["2013-01", "2013-02", "2013-03"])


def definitions(code_of_b="1"):
    @dg.asset(key=["t", "a"], code_version="1", partitions_def=MONTHS)
    def a() -> None: ...

    @dg.asset(key=["t", "b"], deps=[["t", "a"]], code_version=code_of_b)
    def b() -> None: ...

    @dg.asset(key=["f", "c"], deps=[["t", "b"]], code_version="1")
    def c() -> None: ...

    return dg.Definitions(assets=[a, b, c])


@pytest.fixture
def made():
    with dg.DagsterInstance.ephemeral() as instance:
        assets = list(definitions().resolve_all_asset_specs())
        assert len(assets) == 3
        job = definitions().resolve_implicit_global_asset_job_def()
        for month in ("2013-01", "2013-02"):
            job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(["t", "a"])], partition_key=month)
        keys = [dg.AssetKey(["t", "b"]), dg.AssetKey(["f", "c"])]
        job.execute_in_process(instance=instance, asset_selection=keys)
        yield instance


def test_select_matches_patterns_upstream_first():
    assert select(definitions(), ["f/*", "t/a"]) == ["t/a", "f/c"]
    assert select(definitions(), ["t/b+"]) == ["t/b", "f/c"]
    with pytest.raises(UnknownNameError, match="Did you mean 't/a'"):
        select(definitions(), ["t/aa"])


def test_changed_is_what_was_declared_anew_and_all_downstream(made):
    assert changed_keys(definitions(), made) == []
    assert changed_keys(definitions(code_of_b="2"), made) == ["t/b", "f/c"]
    assert never_made(definitions(), made) == []
    with dg.DagsterInstance.ephemeral() as empty:
        assert never_made(definitions(), empty) == ["t/a", "t/b", "f/c"]


def test_what_a_failed_call_left_is_taken_up_again(made, tmp_path):
    pending = Pending(tmp_path / "changed.json")
    assert pending.keys() == []
    pending.set(["t/b", "f/c"])
    pending.done(["t/b"])
    assert changed_keys(definitions(), made, pending.keys()) == ["f/c"]
    pending.done(["f/c"])
    assert not (tmp_path / "changed.json").exists()
    (tmp_path / "changed.json").write_text("{")
    assert pending.keys() == []


def test_partitioned_assets_run_for_what_exists_or_what_is_named(made):
    defs = definitions()
    span = ("2013-01", "2013-02")
    assert partitioned_runs(defs, ["t/a", "t/b", "f/c"], None, made) == [(["t/a"], span), (["t/b", "f/c"], None)]
    assert partitioned_runs(defs, ["t/a"], "2013-03", made) == [(["t/a"], ("2013-03", "2013-03"))]
    assert partitioned_runs(defs, ["t/a"], "2013-02..2013-03", made) == [(["t/a"], ("2013-02", "2013-03"))]
    with dg.DagsterInstance.ephemeral() as empty, pytest.raises(UserError, match="--partition first..last"):
        partitioned_runs(defs, ["t/a"], None, empty)
