"""Candidates on trial behind a real nginx end by themselves, for stated reasons."""

from collections.abc import Iterator

import pytest
import tensorflow as tf

from serving.versions.journal import read_entries
from tests.integration.edge_stage import NGINX, Spoil, Stage, clients, wait_until

pytestmark = pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine")

LIMITS = {"judge_every_seconds": 1, "min_requests": 300, "min_seconds": 2, "min_predictions": 150}


def slow(probabilities: tf.Tensor) -> tf.Tensor:
    """Takes tens of milliseconds more, and changes nothing."""
    size = 600
    grain = tf.fill([size, size], tf.reduce_sum(probabilities) / size)
    for _ in range(40):
        grain = tf.matmul(grain, grain) / tf.reduce_max(grain)
    return probabilities + 0 * tf.minimum(tf.reduce_min(grain), 0.0)


def failing(probabilities: tf.Tensor) -> tf.Tensor:
    """Fails for one request in ten."""
    with tf.control_dependencies([tf.debugging.Assert(tf.random.uniform([]) > 0.1, ["unlucky"])]):
        return tf.identity(probabilities)


def swapped(probabilities: tf.Tensor) -> tf.Tensor:
    """Takes black for white and white for black."""
    return tf.gather(probabilities, [4, 1, 2, 3, 0], axis=1)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("judged") / "var")
    stage.push()
    arguments = [f"--set=canary.{name}={value}" for name, value in LIMITS.items()]
    stage.start(*arguments, "--set=traffic.sample=1")
    yield stage
    stage.stop()


def ended(stage: Stage, spoil: Spoil) -> tuple[str, str]:
    """Has a candidate on trial meet half of the clients; returns how that ended, and why."""
    version = stage.push(spoil)
    with clients(stage):
        stage.trial.begin(version, 50)
        wait_until(lambda: stage.trial.current() is None, 120)
    last = [entry for entry in read_entries(stage.store) if entry.version == version][-1]
    return last.action, last.reason


@pytest.mark.integration
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(slow, "slower: "), (failing, "more errors: "), (swapped, "other labels: ")],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_bad_candidate_is_taken_back_by_itself(stage: Stage, spoil: Spoil, reason: str) -> None:
    action, why = ended(stage, spoil)
    assert action == "aborted"
    assert reason in why


@pytest.mark.integration
def test_a_good_candidate_is_promoted_by_itself(stage: Stage) -> None:
    action, why = ended(stage, tf.identity)
    assert (action, "not slower" in why) == ("promoted", True)
