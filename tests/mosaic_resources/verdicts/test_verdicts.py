"""Verdicts: who may read what after a blocking check failed."""

from datetime import UTC, datetime

import pytest

from mosaic_resources.errors import UserError
from mosaic_resources.verdicts.store import Refusal, Verdicts

AT = datetime(2024, 3, 1, 12, tzinfo=UTC)


def month(number):
    return datetime(2024, number, 1, tzinfo=UTC), datetime(2024, number + 1, 1, tzinfo=UTC)


def refusal(partition="2024-02", version=4, window=None):
    return Refusal("tables/t", partition, "positive", "It fails for 3 of 9 rows.", "run-12345678", AT, version, window)


@pytest.fixture
def verdicts(tmp_path):
    return Verdicts(tmp_path / "state" / "verdicts.db")


def reads(verdicts, version=5, partitions=(), windows=None):
    try:
        verdicts.check("tables/t", version, "features/v", partitions, windows or {})
    except UserError:
        return False
    return True


def test_nothing_is_refused_and_nothing_written_before_a_failure(verdicts, tmp_path):
    assert reads(verdicts)
    verdicts.passed("tables/t", ["2024-02"])
    assert not (tmp_path / "state").exists()


def test_a_failed_partition_is_refused_until_it_succeeds(verdicts):
    verdicts.failed([refusal()])
    assert not reads(verdicts)
    assert not reads(verdicts, partitions=["2024-01", "2024-02"])
    assert reads(verdicts, partitions=["2024-01"])
    assert reads(verdicts, version=3)  # An older version is as good as it was.
    verdicts.passed("tables/t", ["2024-01"])
    assert not reads(verdicts)
    verdicts.passed("tables/t", ["2024-02"])
    assert reads(verdicts)


def test_times_overlap_whatever_the_readers_partitions_are_called(verdicts):
    verdicts.failed([refusal(window=month(2))])
    day = datetime(2024, 2, 9, tzinfo=UTC), datetime(2024, 2, 10, tzinfo=UTC)
    assert not reads(verdicts, partitions=["2024-02-09"], windows={"2024-02-09": day})
    assert reads(verdicts, partitions=["2024-03"], windows={"2024-03": month(3)})
    assert not reads(verdicts, partitions=["north"])  # Not partitioned by time: it reads all.


def test_a_table_without_partitions_is_refused_whole(verdicts):
    verdicts.failed([refusal("")])
    assert not reads(verdicts, partitions=["2024-01"])
    verdicts.passed("tables/t", [])
    assert reads(verdicts)


def test_the_error_names_table_partition_rule_and_what_to_do(verdicts):
    verdicts.failed([refusal(window=month(2))])
    assert verdicts.refusals("tables/t") == [refusal(window=month(2))]
    with pytest.raises(UserError) as caught:
        verdicts.check("tables/t", 5, "features/v", (), {})
    assert str(caught.value) == (
        "features/v: Partition 2024-02 of table 'tables/t' failed 'positive' at 2024-03-01 12:00 UTC (run run-1234); "
        "what it holds is from before. It fails for 3 of 9 rows. Mend the rows or the rule, then run "
        "'mosaic materialize tables/t --partition 2024-02'."
    )
