"""`python -m serving.model_server`: starts the server, ends it on SIGTERM or SIGINT."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import signal
import sys
import threading

from serving.model_server.errors import ServingError
from serving.model_server.flags import EXIT_FAILED, Flags, parse_flags
from serving.quick_imports import quick_imports
from serving.standard_output import take_any_text

# TensorFlow's own lines (one per failing kernel, among others) go to nobody who could act on them;
# what clients and operators need of them is in the answers and in this server's log.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main(arguments: list[str]) -> int:
    """Runs the server. Returns TensorFlow Serving's exit code; ends by the signal that stops it."""
    take_any_text()
    try:
        return _serve(parse_flags(arguments))
    except ServingError as error:
        print(f"Failed to start server. Error: {error}", flush=True)
    except Exception:
        logging.getLogger(__name__).exception("the server failed")
    return EXIT_FAILED


def _serve(flags: Flags) -> int:
    if flags.version:
        version = importlib.metadata.version("tensorflow")
        print(f"TensorFlow ModelServer: {version}\nTensorFlow Library: {version}")
        return 0
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    # TensorFlow imports Keras only to register its optimizers for loading Python objects, and does
    # without where it is not installed. It is a quarter of TensorFlow's import time.
    sys.modules["keras"] = None  # type: ignore[assignment]
    with quick_imports():
        from serving.model_server.server import Server

    stopping = threading.Event()
    received: list[int] = []

    def stop(number: int, frame: object) -> None:
        received.append(number)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    Server(flags, stopping).run()
    if received:
        sys.stdout.flush()
        sys.stderr.flush()
        signal.signal(received[0], signal.SIG_DFL)
        signal.raise_signal(received[0])
    return 0


if __name__ == "__main__":
    # Threads that still load or run a model must not hold up an exit.
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
