"""Shares change and trials end for long, under load, and no request fails."""

import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.edge_stage import NGINX, Answers, Stage, clients, wait_until
from tests.integration.soak_results import write_result

pytestmark = pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine")

_PEOPLE = 1000


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path / "var")
    stage.push()
    stage.start()
    yield stage
    stage.stop()


def share_within_chance(answers: Answers, percent: int, seconds: float) -> bool:
    """Whether the canary's share of the requests that come now is what it should be."""
    before = Counter(answers.variants)
    time.sleep(seconds)
    # A busy machine may answer nobody for a moment.
    wait_until(lambda: answers.count - before.total() >= 50)
    seen = Counter(answers.variants) - before
    share = percent / 100
    # Requests come in the name of all people in turn, and who meets the canary is drawn once.
    spread = math.sqrt(share * (1 - share) / min(seen.total(), _PEOPLE))
    return abs(seen["canary"] / seen.total() - share) < 5 * spread + 4 / seen.total()


def change(stage: Stage, changes: int, seconds: float) -> dict[str, Any]:
    """Changes shares, promotes and aborts so often; returns what clients met."""
    done, wrong, promoted = 0, 0, True
    began = time.monotonic()
    with clients(stage, people=_PEOPLE) as answers:
        while done < changes:
            version = stage.push()
            for percent in (5, 20, 50, 80):
                stage.trial.begin(version, percent)
                wrong += not share_within_chance(answers, percent, seconds)
            stage.trial.promote() if promoted else stage.trial.abort("a rehearsal")
            promoted, done = not promoted, done + 5
    return {
        "changes": done,
        "requests": answers.count,
        "failed": len(answers.failures),
        "canary_requests": answers.variants["canary"],
        "shares_beyond_chance": wrong,
        "seconds": round(time.monotonic() - began),
    }


@pytest.mark.soak
def test_a_hundred_changes_cost_no_request(stage: Stage) -> None:
    found = change(stage, changes=100, seconds=2.0)
    write_result("edge_changes", found)
    assert (found["failed"], found["shares_beyond_chance"]) == (0, 0)


@pytest.mark.integration
def test_ten_changes_cost_no_request(stage: Stage) -> None:
    found = change(stage, changes=10, seconds=1.0)
    assert (found["failed"], found["shares_beyond_chance"]) == (0, 0)
    assert found["canary_requests"] > 0
