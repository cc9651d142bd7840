"""Where a training that was killed goes on: its last whole epoch."""

import shutil
from pathlib import Path

import keras

from files.whole import replacing


class EpochCheckpoint(keras.callbacks.Callback):
    """Keeps the newest whole epoch of a training as `<directory>/<epoch>.keras`.

    A file appears by rename, so that a kill while it is written leaves the epoch before it.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        done = epoch + 1
        with replacing(self._directory / f"{done:04d}.keras", suffix=".keras") as partial:
            self.model.save(partial)
        for older in self._finished():
            if int(older.stem) < done:
                older.unlink()

    def restore(self) -> tuple[int, keras.Model | None]:
        """Returns the number of epochs done, and the compiled model after them if there is one."""
        finished = self._finished()
        if not finished:
            return 0, None
        return int(finished[-1].stem), keras.models.load_model(finished[-1])

    def remove(self) -> None:
        """Deletes the directory; the training is complete and exported."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _finished(self) -> list[Path]:
        return sorted(path for path in self._directory.glob("*.keras") if path.stem.isdecimal())
