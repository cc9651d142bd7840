"""What somebody who watches a run sees: live on a terminal, plain lines elsewhere."""

import logging
from collections.abc import Callable
from typing import TextIO

from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from orchestration.console import plain_console
from runs.exit_status import NodeState
from runs.result import NodeResult

# The project's own loggers; everything else goes to the log file only.
_OWN_LOGGERS = (
    *("cli", "orchestration", "reporting", "runs", "pipeline"),
    *("components", "data", "serving", "files"),
)

_MARKS = {
    NodeState.DONE: ("done", "green"),
    NodeState.CACHED: ("cached", "cyan"),
    NodeState.FAILED: ("failed", "red"),
}


class Progress(logging.Handler):
    """Shows nodes as they start and end, and the project's own log lines between."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(logging.INFO)
        self._console = plain_console(stream)
        self._live: Live | None = None
        self._running = ""

    def __enter__(self) -> "Progress":
        """Begins to show the project's own log lines."""
        for name in _OWN_LOGGERS:
            logger = logging.getLogger(name)
            logger.setLevel(logging.INFO)
            logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what `__enter__` began."""
        self._stop_spinner()
        for name in _OWN_LOGGERS:
            logging.getLogger(name).removeHandler(self)

    def say(self, message: str) -> None:
        """Shows one line of its own."""
        self._console.print(message)

    def phase(self, name: str) -> None:
        """Shows that something without a node of its own is going on."""
        self._start(name)

    def node_started(self, node_id: str) -> None:
        """Shows that a node is running."""
        self._start(node_id)

    def node_finished(self, node: NodeResult) -> None:
        """Shows how a node ended, and in how many seconds."""
        self._stop_spinner()
        mark, colour = _MARKS[node.state]
        if self._console.is_terminal:
            seconds = f"{node.seconds:>7.1f} s"
            line = Text.assemble(f"  {node.id:<28}", (f"{mark:<12}", colour), seconds)
            self._console.print(line)
        else:
            self.say(f"{node.id}: {mark} in {node.seconds:.1f} s")

    def counter(self, name: str, total: int) -> Callable[[int], None]:
        """Returns what counts how many of `total` are done; shown to whoever watches."""
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if self._console.is_terminal:
                if self._live is None:
                    self._start(name)
                self._update(f"{done} of {total}")

        return advance

    def emit(self, record: logging.LogRecord) -> None:
        """Shows a log line of the project: under the spinner, or as a line of its own.

        A record with `live=True` is for whoever watches at that moment only.
        """
        message = record.getMessage()
        if getattr(record, "live", False) and self._live is None:
            if not self._console.is_terminal:
                return  # a running count, of which a pipe would get hundreds of lines
            self._start("downloading")
        if self._live is not None and record.levelno < logging.WARNING:
            self._update(message)
        else:
            self.say(f"    {message}")

    def _start(self, name: str) -> None:
        self._stop_spinner()
        self._running = name
        if self._console.is_terminal:
            # Redirecting would bring to the terminal what is meant for the log file.
            self._live = Live(
                _spinner(name),
                console=self._console,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        else:
            self.say(f"{name}: running")

    def _update(self, message: str) -> None:
        if self._live is not None:
            self._live.update(_spinner(self._running, message))

    def _stop_spinner(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _spinner(name: str, message: str = "") -> Spinner:
    return Spinner("dots", Text.assemble(name, "  ", (message, "dim"), overflow="ellipsis"))
