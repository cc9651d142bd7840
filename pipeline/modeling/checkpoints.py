"""Where a training that was killed goes on: its last whole epoch."""

import logging
import shutil
import zipfile
from pathlib import Path

import keras
import tensorflow as tf

from files.whole import replacing, write_whole

_log = logging.getLogger(__name__)


class EpochCheckpoint(keras.callbacks.Callback):
    """Keeps the two newest epochs of a training as `<directory>/<epoch>.keras`.

    A file appears by rename once it is on disk; the one before it stays, for the case that the
    newest turns out to be damaged.

    Attributes:
        history: a CSV file with a line for each epoch, which `keras.callbacks.CSVLogger` writes.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.history = directory / "history.csv"

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        done = epoch + 1
        with replacing(self._directory / f"{done:04d}.keras", suffix=".keras") as partial:
            self.model.save(partial)
        # Later epochs are another network's, which was left out.
        ours = [path for path in self._finished() if int(path.stem) <= done]
        for older in ours[:-2]:
            older.unlink()

    def restore(self, untrained: keras.Model) -> tuple[int, keras.Model | None]:
        """Returns the number of epochs done, and the compiled model after them if there is one.

        A damaged checkpoint is deleted, one of another network left out, and the one before it
        taken. The history afterwards has the epochs done and no others.

        Args:
            untrained: the network that is to be trained; layers of the user's own are known to
                Keras once it was built.

        Raises:
            OSError: a checkpoint cannot be read now, which is not said to be its fault. As little
                are MemoryError and tf.errors.ResourceExhaustedError.
        """
        for newest in reversed(self._finished()):
            if _is_damaged(newest):
                _log.warning("the checkpoint %s is damaged and left out", newest)
                newest.unlink()
                continue
            try:
                model = keras.models.load_model(newest)
            except (OSError, MemoryError, tf.errors.ResourceExhaustedError):
                raise
            except Exception as error:  # Keras raises whatever the difference leads to
                # It says so last, after the configuration of the whole network.
                reason = str(error).rpartition("Exception encountered: ")[2].partition(". ")[0]
                _log.warning("the checkpoint %s cannot be used and is left out: %s", newest, reason)
                continue
            if _shapes(model) == _shapes(untrained):
                self._cut_history(int(newest.stem))
                return int(newest.stem), model
            _log.warning("the checkpoint %s is of another network and left out", newest)
        self._cut_history(0)
        return 0, None

    def remove(self) -> None:
        """Deletes the directory; the training is complete and exported."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _cut_history(self, epochs: int) -> None:
        if self.history.exists():
            lines = self.history.read_text(errors="replace").splitlines(keepends=True)
            write_whole(self.history, "".join(lines[: 1 + epochs]) if epochs else "")

    def _finished(self) -> list[Path]:
        return sorted(path for path in self._directory.glob("*.keras") if path.stem.isdecimal())


def _is_damaged(checkpoint: Path) -> bool:
    try:
        with zipfile.ZipFile(checkpoint) as archive:
            return archive.testzip() is not None
    except (OSError, MemoryError):
        raise
    except Exception:  # zipfile raises whatever the damage leads to
        return True


def _shapes(model: keras.Model) -> list[tuple[int, ...]]:
    return [weight.shape for weight in model.weights]
