"""Candidates on trial behind a real nginx end by themselves, for stated reasons."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from serving.versions.journal import Action, Entry, read_entries
from tests.integration.edge_stage import NGINX, Spoil, Stage, clients, wait_until
from tests.integration.soak_results import write_result

pytestmark = pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine")

SOON = {"min_requests": 300, "min_seconds": 2, "min_predictions": 150}
# 2 % of errors do not show in 300 requests.
AS_SET = {"min_seconds": 5}
REPETITIONS = 10


def later(probabilities: tf.Tensor, seconds: float) -> tf.Tensor:
    """Answers so much later on any machine, and keeps no processor busy that others wait for."""
    element = {"output_types": [tf.int64], "output_shapes": [[]]}
    one = tf.raw_ops.RangeDataset(start=0, stop=1, step=1, **element)
    # It sleeps before the one element, and before it says that there is no other.
    pause = round(seconds / 2 * 1e6)
    slow = tf.raw_ops.SleepDataset(input_dataset=one, sleep_microseconds=pause, **element)
    [slept] = tf.raw_ops.DatasetToSingleElement(dataset=slow, **element)
    return probabilities + 0 * tf.cast(slept, tf.float32)


def failing(probabilities: tf.Tensor, share: float) -> tf.Tensor:
    """Fails for a share of the requests."""
    with tf.control_dependencies([tf.debugging.Assert(tf.random.uniform([]) > share, ["unlucky"])]):
        return tf.identity(probabilities)


def swapped(probabilities: tf.Tensor) -> tf.Tensor:
    """Takes black for white and white for black."""
    return tf.gather(probabilities, [4, 1, 2, 3, 0], axis=1)


CANDIDATES: dict[str, tuple[Spoil, str, str]] = {
    "30 ms slower": (partial(later, seconds=0.03), "aborted", "slower: "),
    "2 % errors": (partial(failing, share=0.02), "aborted", "more errors: "),
    "two labels swapped": (swapped, "aborted", "other labels: "),
    "as good": (tf.identity, "promoted", "not slower"),
}


def stage_with(limits: dict[str, float], folder: Path) -> Iterator[Stage]:
    stage = Stage(folder / "var")
    stage.push()
    arguments = [f"--set=canary.{name}={value}" for name, value in limits.items()]
    stage.start(*arguments, "--set=canary.judge_every_seconds=1", "--set=traffic.sample=1")
    yield stage
    stage.stop()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from stage_with(SOON, tmp_path_factory.mktemp("judged"))


@pytest.fixture(scope="module")
def stage_as_set(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    yield from stage_with(AS_SET, tmp_path_factory.mktemp("judged"))


def ended(stage: Stage, spoil: Spoil) -> tuple[str, str, float]:
    """Has a candidate on trial meet half of the clients; returns how that ended, why, and when."""
    version = stage.push(spoil)
    with clients(stage):
        stage.trial.begin(version, 50)
        began = time.monotonic()
        wait_until(lambda: bool(endings(stage, version)), 240)
    last = endings(stage, version)[-1]
    return last.action, last.reason, time.monotonic() - began


def endings(stage: Stage, version: int) -> list[Entry]:
    ways = (Action.ABORTED, Action.PROMOTED)
    entries = read_entries(stage.store)
    return [entry for entry in entries if entry.version == version and entry.action in ways]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("spoil", "action", "reason"),
    [
        # Of the time of a busy machine, 30 ms are too small a part.
        (partial(later, seconds=0.2), "aborted", "slower: "),
        (partial(failing, share=0.1), "aborted", "more errors: "),
        CANDIDATES["two labels swapped"],
        CANDIDATES["as good"],
    ],
    ids=["slower", "failing", "swapped", "good"],
)
def test_a_bad_candidate_is_taken_back_and_a_good_one_promoted_by_itself(
    stage: Stage, spoil: Spoil, action: str, reason: str
) -> None:
    how, why, _ = ended(stage, spoil)
    assert how == action
    assert reason in why


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, Any]]:
    """What the trials of this run came to; written when all are done."""
    found: dict[str, Any] = {}
    yield found
    write_result("edge_judgement", {"limits": AS_SET, "candidates": found})


@pytest.mark.soak
@pytest.mark.parametrize("repetition", range(REPETITIONS), ids="trial{}".format)
@pytest.mark.parametrize("candidate", CANDIDATES)
def test_each_of_many_candidates_ends_as_it_should(
    stage_as_set: Stage, results: dict[str, Any], candidate: str, repetition: int
) -> None:
    spoil, action, reason = CANDIDATES[candidate]
    how, why, seconds = ended(stage_as_set, spoil)
    as_it_should = how == action and reason in why
    row = results.setdefault(candidate, {"trials": 0, action: 0, "seconds": [], "reasons": []})
    row["trials"] += 1
    row[action] += as_it_should
    row["seconds"].append(round(seconds))
    row["reasons"].append(why)
    assert as_it_should, f"{how}: {why}"
