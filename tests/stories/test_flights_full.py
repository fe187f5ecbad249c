"""The full story: the floor that the model must reach, and the goal. Takes minutes, so it is marked slow."""

import httpx
import pytest

from mosaic_resources.bentos import process

from .conftest import play_to_the_end

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    state = tmp_path_factory.mktemp("full") / "state"
    try:
        yield play_to_the_end(state, size=())
    finally:
        process.stop(state, "flight_delay")


def auc(story, month, model, version="1"):
    return next(
        row["auc"] for row in story.summary["auc_by_month"]
        if (row["month"], row["model"], row["version"]) == (month, model, version)
    )  # fmt: skip


def test_july_reaches_the_floor_and_is_not_below_boosting(full):
    champion, boosting = auc(full, "2013-07", "flight_delay"), auc(full, "2013-07", "flight_delay_reference")
    assert champion >= 0.76
    assert champion >= boosting


def test_the_story_ends_with_a_decision_and_an_endpoint_that_answers(full):
    assert full.summary["verdict"] in ("promote", "keep")
    assert full.summary["answers"] == full.summary["logged"] == 2000
    assert full.summary["switch_failed"] == 0
    assert httpx.get(f"{full.summary['endpoint']}/readyz").status_code == 200
