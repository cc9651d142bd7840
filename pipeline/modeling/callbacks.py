"""What is said, and looked at, while a training runs."""

import logging
import math
import time

import keras
import numpy as np

_log = logging.getLogger(__name__)


class TrainingDivergedError(Exception):
    """The loss is infinite or NaN; the message says since when."""


class StopWhenDiverged(keras.callbacks.Callback):
    """Ends a training whose loss is no longer a number; no later step can repair it."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if not math.isfinite((logs or {})["loss"]):
            raise TrainingDivergedError(
                f"the training diverged in step {batch + 1} of epoch {self._epoch}: its loss is no "
                "longer a number; a lower training.learning_rate may help"
            )


class SeedEpochs(keras.callbacks.Callback):
    """Has what layers draw in an epoch, such as dropout's masks, depend on its number.

    Keras restores no seed generator with a model. What each draws follows from the seed, the
    epoch's number and its own place in the network, as the order of the images does from the first
    two, so that a resumed training draws what an uninterrupted one would have drawn.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        states = [each for each in self.model.variables if each.name == "seed_generator_state"]
        for place, state in enumerate(states):
            drawn = np.random.SeedSequence((self._seed, epoch, place)).generate_state(1)[0]
            # Half of what it may be: TensorFlow reads the seed as int32.
            state.assign([drawn // 2, 0])


class EpochLog(keras.callbacks.Callback):
    """Logs one line per epoch."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = logs or {}
        _log.info(
            "epoch %d/%d: loss %.4f, accuracy %.4f, validation accuracy %.4f (%.1f s)",
            epoch + 1,
            self._epochs,
            logs["loss"],
            logs["accuracy"],
            logs["val_accuracy"],
            time.monotonic() - self._started,
        )
