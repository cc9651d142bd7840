"""A search begins with the settings, keeps to its limits, and survives a kill."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras_tuner.engine.trial import TrialStatus

from pipeline.best_hyperparameters import decode, with_tuned
from pipeline.modeling.dataset import LabelledImages
from pipeline.settings.hyperparameters import Hyperparameters
from pipeline.settings.search_space import TuningSettings
from pipeline.tuning.tuner import NoTrialSucceeded, TrialTuner, accuracy, make_tuner

SETTINGS = Hyperparameters(learning_rate=0.004, dropout=0.1)
TUNING = TuningSettings(trials=4, parameters=("learning_rate", "dropout", "filters"))


class Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Trials:
    """Stands for the trainings: notes what was tried and lets time pass."""

    def __init__(self, clock: Clock, seconds: float = 10.0) -> None:
        self.tried: list[Mapping[str, Any]] = []
        self._clock = clock
        self._seconds = seconds

    def __call__(self, values: Mapping[str, Any], folder: Path) -> float:
        self.tried.append(dict(values))
        self._clock.now += self._seconds
        return score(values)


def score(values: Mapping[str, Any]) -> float:
    """Best at the rate 0.01 without dropout."""
    return 1 - abs(values["learning_rate"] - 0.01) - values["dropout"]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def tuner(folder: Path, run: Callable[..., float], clock: Clock, **limits: Any) -> TrialTuner:
    return make_tuner(SETTINGS, TUNING.model_copy(update=limits), folder / "s", run, clock)


def test_the_first_trial_has_the_values_of_the_settings(tmp_path: Path, clock: Clock) -> None:
    trials = Trials(clock)
    tuner(tmp_path, trials, clock, trials=1).search()
    (first,) = trials.tried
    assert with_tuned(SETTINGS, first) == SETTINGS


def test_no_more_trials_are_made_than_asked_for(tmp_path: Path, clock: Clock) -> None:
    trials = Trials(clock)
    tuner(tmp_path, trials, clock, trials=6).search()
    assert len(trials.tried) == 6
    assert len({str(values) for values in trials.tried}) == 6


def test_no_trial_begins_that_would_exceed_the_time(tmp_path: Path, clock: Clock) -> None:
    trials = Trials(clock, seconds=25.0)
    tuner(tmp_path, trials, clock, trials=100, minutes=1.0).search()
    assert len(trials.tried) == 2
    assert clock.now == 50.0


def test_one_trial_is_made_however_little_time_there_is(tmp_path: Path, clock: Clock) -> None:
    trials = Trials(clock, seconds=1000.0)
    tuner(tmp_path, trials, clock, minutes=0.1).search()
    assert len(trials.tried) == 1


def test_the_best_trial_is_the_one_of_the_highest_accuracy(tmp_path: Path, clock: Clock) -> None:
    trials = Trials(clock)
    search = tuner(tmp_path, trials, clock)
    search.search()
    assert decode(search.get_best_hyperparameters()[0].values) == max(trials.tried, key=score)


def test_a_search_that_was_killed_makes_its_trial_again_and_goes_on(
    tmp_path: Path, clock: Clock
) -> None:
    trials = Trials(clock)

    def killed_in_the_third(values: Mapping[str, Any], folder: Path) -> float:
        if len(trials.tried) == 2:
            trials.tried.append(dict(values))
            raise KeyboardInterrupt
        return trials(values, folder)

    with pytest.raises(KeyboardInterrupt):
        tuner(tmp_path, killed_in_the_third, clock).search()
    resumed = Trials(clock)
    search = tuner(tmp_path, resumed, clock)
    assert search.oracle.spent == 20.0
    search.search()
    assert resumed.tried[0] == trials.tried[2]
    assert len(resumed.tried) == 2
    assert len(search.oracle.completed()) == 4


def test_a_finished_search_goes_on_when_it_is_given_more(tmp_path: Path, clock: Clock) -> None:
    tuner(tmp_path, Trials(clock), clock, trials=2).search()
    further = Trials(clock)
    search = tuner(tmp_path, further, clock, trials=3)
    search.search()
    assert len(further.tried) == 1
    assert len(search.oracle.completed()) == 3


@pytest.mark.parametrize("damage", ['{"ongoing', "[]", '{"hyperparameters": null}', "\0"])
def test_a_state_that_is_damaged_is_begun_anew(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    tuner(tmp_path, Trials(clock), clock, trials=2).search()
    (tmp_path / "s" / "oracle.json").write_text(damage)
    again = Trials(clock)
    tuner(tmp_path, again, clock, trials=2).search()
    assert len(again.tried) == 2
    assert "unreadable: starting anew" in caplog.text


def test_a_trial_that_fails_is_passed_over(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    trials = Trials(clock)

    def fails_first(values: Mapping[str, Any], folder: Path) -> float:
        accuracy = trials(values, folder)
        if len(trials.tried) == 1:
            raise ValueError("there are only 64 training images")
        return accuracy

    search = tuner(tmp_path, fails_first, clock)
    search.search()
    assert "trial 1 failed: ValueError: there are only 64 training images" in caplog.text
    assert search.oracle.get_best_trials()[0].status == TrialStatus.COMPLETED


def test_a_search_without_a_single_success_fails(tmp_path: Path, clock: Clock) -> None:
    def fails(values: Mapping[str, Any], folder: Path) -> float:
        raise ValueError("there are only 64 training images")

    with pytest.raises(NoTrialSucceeded, match="only 64 training images"):
        tuner(tmp_path, fails, clock).search()


class LooksRight(keras.Model):
    """Sees class 1 where the right half is brighter than the left, class 0 elsewhere."""

    def call(self, images):
        left, right = (keras.ops.mean(half, (1, 2, 3)) for half in keras.ops.split(images, 2, 2))
        return keras.ops.stack([left, right], axis=1)


def test_accuracy_is_that_of_the_model_as_it_is_exported() -> None:
    images = np.zeros((4, 28, 28, 1), np.float32)
    images[:2, :, 14:] = 1.0
    split = LabelledImages(images, np.array([1, 1, 1, 0]))
    assert accuracy(LooksRight(), split, test_time_flip=False) == 0.75
    # With the mirror image, both classes look alike, which counts as the first.
    assert accuracy(LooksRight(), split, test_time_flip=True) == 0.25
