"""tuner_fn: searches hyperparameters by short trainings, within a time budget.

The search is Bayesian optimisation. A budget on two cores is some ten to thirty trials, of which a
Gaussian process over a handful of dimensions makes more than random search does. Hyperband goes on
with the better half of its trials, but a training here ends with its learning rate at zero, so that
there is nothing to go on with.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from keras_tuner.engine.base_tuner import BaseTuner
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle
from pydantic import BaseModel
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.tuner.component import TunerFnResult

from pipeline.best_hyperparameters import decode, encode, with_tuned
from pipeline.modeling.checkpoints import EpochCheckpoint
from pipeline.modeling.dataset import LabelledImages, digest_of, image_batches, load_split
from pipeline.modeling.determinism import limit_threads
from pipeline.modeling.features import CLASS_LABELS
from pipeline.modeling.image_store import make_store
from pipeline.modeling.trainer import train_model
from pipeline.settings.hyperparameters import Hyperparameters
from pipeline.settings.search_space import SEARCH_SPACE, Between, TuningSettings, nearest_in_space

_log = logging.getLogger(__name__)

OBJECTIVE = "validation_accuracy"
_SECONDS = "seconds"

RunTrial = Callable[[Mapping[str, Any], Path], float]


class TunerConfig(BaseModel):
    """What the pipeline hands to `tuner_fn` as Tuner's `custom_config`.

    Attributes:
        hyperparameters: what the search starts from.
        tuning: what it varies, and its limits.
        searches: the folder under which every search keeps its state.
        fingerprint: of Tuner's code and settings, without the limits.
        labels: names of the classes, in the order of their ids.
    """

    hyperparameters: Hyperparameters
    tuning: TuningSettings
    searches: Path
    fingerprint: str
    labels: tuple[str, ...] = CLASS_LABELS


class NoTrialSucceeded(Exception):
    """Every trial ended with an error; the message has the last one."""


def tuner_fn(fn_args: FnArgs) -> TunerFnResult:
    """Prepares a search on the examples of `fn_args`; called by Tuner, which then runs it.

    Trials fit the training split and are judged by the accuracy on the validation split.
    """
    config = TunerConfig.model_validate(fn_args.custom_config)
    limit_threads(config.hyperparameters.threads)
    transform_output = tft.TFTransformOutput(fn_args.transform_graph_path)
    stream = config.hyperparameters.stream
    train, validation = (
        load_split(files, transform_output, store=make_store(stream, config.searches))
        for files in (fn_args.train_files, fn_args.eval_files)
    )
    base_model = Path(fn_args.base_model) if fn_args.base_model else None
    of_a_trial = config.hyperparameters.model_copy(update={"epochs": config.tuning.epochs})

    def run_trial(values: Mapping[str, Any], folder: Path) -> float:
        keras.utils.clear_session()
        checkpoint = EpochCheckpoint(folder / "checkpoints")
        model = train_model(
            train,
            validation,
            with_tuned(of_a_trial, values),
            checkpoint,
            folder,
            config.labels,
            base_model,
        )
        checkpoint.remove()
        return accuracy(model, validation, test_time_flip=of_a_trial.test_time_flip)

    folder = config.searches / _search_key(config, fn_args)
    tuner = make_tuner(config.hyperparameters, config.tuning, folder, run_trial)
    return TunerFnResult(tuner=tuner, fit_kwargs={})


def make_tuner(
    settings: Hyperparameters,
    tuning: TuningSettings,
    folder: Path,
    run_trial: RunTrial,
    clock: Callable[[], float] = time.monotonic,
) -> "TrialTuner":
    """Returns the tuner of a search, which goes on where one in the same folder stopped.

    Args:
        settings: the first trial has their values, and the search is reproducible by their seed.
        tuning: what is varied, and the limits.
        folder: of the search's state. A state that a kill left unreadable is removed.
        run_trial: makes one trial with given values in a folder of its own; returns its accuracy.
        clock: seconds.
    """

    def make() -> TrialTuner:
        oracle = BudgetedOracle(
            first=_first_values(settings, tuning),
            seconds=60 * tuning.minutes,
            clock=clock,
            objective=keras_tuner.Objective(OBJECTIVE, "max"),
            max_trials=tuning.trials,
            hyperparameters=search_space(settings, tuning),
            allow_new_entries=False,
            num_initial_points=max(3, len(tuning.parameters)),
            seed=settings.seed + 1,
            # A trial that fails is passed over; what matters is that one succeeds.
            max_consecutive_failed_trials=tuning.trials + 1,
        )
        return TrialTuner(oracle, folder, run_trial, clock)

    try:
        return make()
    except Exception:  # KerasTuner raises whatever the damage leads to
        _log.warning("the state of the earlier search in %s is unreadable: starting anew", folder)
        shutil.rmtree(folder, ignore_errors=True)
        return make()


def search_space(settings: Hyperparameters, tuning: TuningSettings) -> keras_tuner.HyperParameters:
    """Returns the space that is searched, in KerasTuner's terms."""
    space = keras_tuner.HyperParameters()
    for name in tuning.parameters:
        dimension = SEARCH_SPACE[name]
        if isinstance(dimension, Between):
            sampling = "log" if dimension.logarithmic else "linear"
            space.Float(name, dimension.low, dimension.high, sampling=sampling)
        else:
            space.Choice(
                name, [encode(value) for value in dimension.choices(getattr(settings, name))]
            )
    return space


def accuracy(model: keras.Model, split: LabelledImages, *, test_time_flip: bool) -> float:
    """Returns the share of images that the exported model's largest logit would label rightly."""
    logits = logits_of(model, image_batches(split), mirrored=test_time_flip)
    return float(np.mean(np.argmax(logits, axis=1) == split.labels))


def logits_of(model: keras.Model, images: tf.data.Dataset, *, mirrored: bool) -> np.ndarray:
    """Returns the logits of batches of images, or their means with those of the mirror images."""
    logits = np.asarray(model.predict(images, verbose=0))
    if not mirrored:
        return logits
    mirror_images = images.map(lambda batch: tf.reverse(batch, [2]))
    return (logits + model.predict(mirror_images, verbose=0)) / 2


class BudgetedOracle(BayesianOptimizationOracle):
    """Bayesian optimisation that begins with given values and ends before its time is over."""

    def __init__(
        self,
        *,
        first: Mapping[str, Any],
        seconds: float,
        clock: Callable[[], float],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        # KerasTuner's account of trials goes to stdout.
        self.verbose = 0
        self._first = first
        self._budget = seconds
        self._clock = clock
        self._started = clock()
        self._spent_before = 0.0

    @property
    def spent(self) -> float:
        """Seconds of search, those of an earlier process included as far as trials ended."""
        return self._spent_before + self._clock() - self._started

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Chooses the values of the next trial, or ends the search."""
        if not self.trials:
            return {"status": TrialStatus.RUNNING, "values": dict(self._first)}
        if self.spent + max(self._seconds(), default=0.0) > self._budget:
            _log.info("another trial would exceed the %g minutes of tuning", self._budget / 60)
            return {"status": TrialStatus.STOPPED}
        return super().populate_space(trial_id)

    def reload(self) -> None:
        """Reads the trials of an earlier process, after which the search goes on."""
        super().reload()
        # A kill can leave a trial that is written but not yet in the oracle's own state.
        for trial_id, trial in list(self.trials.items()):
            if trial.status == TrialStatus.RUNNING and trial_id not in self._retry_queue:
                del self.trials[trial_id]
        self._spent_before = sum(self._seconds())
        _log.info("tuning goes on after %d trials", len(self.completed()))

    def completed(self) -> list[Trial]:
        """Returns the trials that succeeded."""
        return [trial for trial in self.trials.values() if trial.status == TrialStatus.COMPLETED]

    def _seconds(self) -> list[float]:
        return [trial.metrics.get_last_value(_SECONDS) for trial in self.completed()]


class TrialTuner(BaseTuner):
    """Makes the trials that the oracle asks for, a line of progress before and after each."""

    oracle: BudgetedOracle

    def __init__(
        self,
        oracle: BudgetedOracle,
        folder: Path,
        run_trial: RunTrial,
        clock: Callable[[], float],
    ) -> None:
        self._run = run_trial
        self._clock = clock
        super().__init__(oracle, directory=str(folder.parent), project_name=folder.name)

    def on_trial_begin(self, trial: Trial) -> None:
        """Says what is tried."""
        values = decode(trial.hyperparameters.values)
        chosen = ", ".join(f"{name} {value}" for name, value in values.items())
        _log.info("trial %d: %s", int(trial.trial_id) + 1, chosen)

    def run_trial(self, trial: Trial, *_: Any, **__: Any) -> dict[str, float]:
        """Makes one trial and returns its metrics."""
        started = self._clock()
        folder = Path(self.get_trial_dir(trial.trial_id))
        score = self._run(decode(trial.hyperparameters.values), folder)
        return {OBJECTIVE: score, _SECONDS: self._clock() - started}

    def on_trial_end(self, trial: Trial) -> None:
        """Keeps the trial's outcome and says it."""
        super().on_trial_end(trial)
        number = int(trial.trial_id) + 1
        if trial.status != TrialStatus.COMPLETED:
            _log.warning("trial %d failed: %s", number, _last_line(trial))
            return
        _log.info(
            "trial %d: validation accuracy %.4f, best %.4f (%.1f s; %.1f minutes of tuning)",
            number,
            trial.score,
            self.oracle.get_best_trials()[0].score,
            trial.metrics.get_last_value(_SECONDS),
            self.oracle.spent / 60,
        )

    def on_search_end(self) -> None:
        """Says what the search found.

        Raises:
            NoTrialSucceeded: when it found nothing.
        """
        if not self.oracle.completed():
            raise NoTrialSucceeded(f"no trial succeeded; the last: {self._last_failure()}")
        best = self.oracle.get_best_trials()[0]
        _log.info("trial %d of %d is the best", int(best.trial_id) + 1, len(self.oracle.trials))

    def _last_failure(self) -> str:
        return _last_line(list(self.oracle.trials.values())[-1])


def _last_line(trial: Trial) -> str:
    return (trial.message or "").strip().rpartition("\n")[-1]


def _first_values(settings: Hyperparameters, tuning: TuningSettings) -> dict[str, Any]:
    values = nearest_in_space(settings, tuning.parameters)
    return {name: encode(value) for name, value in values.items()}


def _search_key(config: TunerConfig, fn_args: FnArgs) -> str:
    """Names the one search that code, settings and data make, whatever time it is given."""
    made_of = [
        config.fingerprint,
        config.hyperparameters.model_dump(mode="json"),
        config.tuning.model_dump(mode="json", exclude={"minutes", "trials"}),
        fn_args.transform_graph_path,
        fn_args.base_model,
        digest_of([*fn_args.train_files, *fn_args.eval_files]),
    ]
    return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:16]
