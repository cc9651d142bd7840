"""Runs the page beside a model server, in a thread of the program that started both."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from serving.addresses import bare_host, is_loopback, join_host_port
from serving.client.interface import Prepare
from serving.ui.app import ui_app

_START_SECONDS = 20.0
_POLL_SECONDS = 0.02


class UiFailedError(Exception):
    """The page cannot be served."""


@contextmanager
def ui_server(
    host: str, port: int, rest_url: str, model_name: str, prepare: Prepare
) -> Iterator[None]:
    """Serves the page for the length of a `with` block.

    Args:
        host: address to listen on. On this machine only, other names for it are refused.
        port: of the page.
        rest_url: of the model server.
        model_name: the model that the page asks.
        prepare: makes a picture's bytes into what the model is shown.

    Raises:
        UiFailedError: the port cannot be had.
    """
    host = bare_host(host)
    app = ui_app(rest_url, model_name, prepare, host=host if is_loopback(host) else None)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            http="h11",  # bounds the size of a head, which httptools does not
            log_level="warning",
            timeout_graceful_shutdown=2,
        )
    )
    thread = threading.Thread(target=_run, args=(server,), name="ui", daemon=True)
    thread.start()
    deadline = time.monotonic() + _START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise UiFailedError(f"the page cannot be served on {join_host_port(host, port)}")
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


def _run(server: uvicorn.Server) -> None:
    try:
        server.run()
    except SystemExit:
        # uvicorn has said why on standard error; the waiting thread sees that this one ended.
        return
