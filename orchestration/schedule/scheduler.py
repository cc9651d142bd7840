"""The long-lived process that starts runs of one model or of several, one at a time."""

import logging
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import combinations
from types import FrameType

from files import lock
from orchestration.schedule.model_schedule import ModelSchedule
from pipeline.settings.config import Config
from pipeline.settings.errors import UsageError
from runs.exit_status import Status

logger = logging.getLogger(__name__)

_TURN_SECONDS = 0.2


class Scheduler:
    """Gives each model its turn, and starts a run only when none is going on.

    Everything that asks for a run while one is waiting or running leads to one more.
    """

    def __init__(self, models: Sequence[ModelSchedule]) -> None:
        """Makes the scheduler of some models, each with a workdir of its own."""
        self._models = models
        self._stopping = False

    def serve(self) -> int:
        """Runs until it is told to stop by SIGTERM or SIGINT, which also stops the run.

        Returns:
            The highest exit code of the models' last runs, 0 when there was none.

        Raises:
            WorkdirBusy: when another schedule holds one of the workdirs.
            OSError: when one of the workdirs cannot be used.
        """
        with self._alone():
            webhooks = [model.webhook for model in self._models if model.webhook]
            for webhook in webhooks:
                webhook.start()
            while not self._stopping:
                self._take_turns()
            for model in self._models:
                model.stop_run()
            for webhook in webhooks:
                webhook.stop()
            logger.info("the schedule stops")
        return self._exit_code

    def once(self) -> int:
        """Makes one run of each model now, or finishes those that are due.

        Returns:
            The highest exit code of the runs, that of an interruption when they are not all over.

        Raises:
            WorkdirBusy: when another schedule holds one of the workdirs.
            OSError: when one of the workdirs cannot be used.
        """
        with self._alone():
            for model in self._models:
                if model.due is None:
                    model.ask_for_run("asked for")
            while any(model.due for model in self._models) and not self._stopping:
                self._take_turns()
            for model in self._models:
                model.stop_run()
                if model.webhook and not self._stopping:
                    model.webhook.deliver_patiently()
        if any(model.due for model in self._models):
            return Status.INTERRUPTED.exit_code
        return self._exit_code

    @property
    def _exit_code(self) -> int:
        return max(model.exit_code for model in self._models)

    def _take_turns(self) -> None:
        for model in self._models:
            model.turn()
        if not any(model.is_running for model in self._models):
            waits = {model: model.ready_since for model in self._models}
            ready = {model: since for model, since in waits.items() if since is not None}
            if ready:
                min(ready, key=ready.__getitem__).start_run()
        time.sleep(_TURN_SECONDS)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with ExitStack() as stack:
            for model in self._models:
                stack.enter_context(lock.exclusive(model.config.workdir, "schedule"))
            for number in (signal.SIGTERM, signal.SIGINT):
                stack.callback(signal.signal, number, signal.signal(number, self._stop))
            for model in self._models:
                model.resume()
            yield

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True


def refuse_shared(configs: Mapping[str, Config]) -> None:
    """Makes sure that no two configurations would work on the same folders.

    Args:
        configs: by the names that the user gave them.

    Raises:
        UsageError: when two have the same workdir, or push to the same folder.
    """
    for (one, config), (other, other_config) in combinations(configs.items(), 2):
        if config.workdir == other_config.workdir:
            shared = f"the workdir {config.workdir}"
        elif config.serving_base == other_config.serving_base:
            shared = f"the serving directory {config.serving_base}"
        else:
            continue
        raise UsageError(f"{one} and {other} share {shared}; give each one of its own")
