"""Waits for a model server to load a version, and tells why when it does not."""

import time
from functools import partial
from pathlib import Path

from components.infra_validator.model_refused import MissedOnceError, ModelRefusedError
from serving.client.errors import ModelFailedError, NotAvailableError
from serving.client.status import fetch_status, wait_until_available
from serving.launch.base import ModelServer

_PORT_ATTEMPTS = 3


def wait_for_start(
    server: ModelServer, base: Path, model_name: str, started: float, limit_seconds: float
) -> float:
    """Waits until a server that was just started has loaded version 1.

    A server that died because another program took its port is started again on other ports.

    Args:
        server: the server.
        base: the model's base directory.
        model_name: under which it is served.
        started: when, by the monotonic clock.
        limit_seconds: how long it may take.

    Returns:
        How long it took, in seconds.

    Raises:
        ModelRefusedError: the server gave the model up.
        MissedOnceError: the server ended or took too long.
    """
    for attempt in range(1, _PORT_ATTEMPTS + 1):
        try:
            return wait_for_version(server, model_name, 1, started, limit_seconds)
        except MissedOnceError:
            died = not server.is_running()
            if attempt == _PORT_ATTEMPTS or not died or not server.lost_its_port():
                raise
        server.stop()
        started = time.monotonic()
        server.start(base, model_name)
    raise AssertionError("the last attempt returns or raises")


def wait_for_version(
    server: ModelServer, model_name: str, version: int, since: float, limit_seconds: float
) -> float:
    """Waits until a server reports a version AVAILABLE; see `wait_for_start`."""

    def check() -> None:
        if not server.is_running():
            last = next((line for line in reversed(server.log_tail()) if line.strip()), "")
            raise MissedOnceError(
                f"The server ended before the model was AVAILABLE. Its last line: {last}"
            )

    too_late = f"The model was not AVAILABLE within {limit_seconds:g} s (max_load_seconds)"
    try:
        wait_until_available(
            partial(fetch_status, server.rest_url, model_name, version=version),
            since + limit_seconds - time.monotonic(),
            "the model",
            wanted=[version],
            check=check,
        )
    except ModelFailedError as error:
        raise ModelRefusedError(f"The model did not load: {error.reason}.") from error
    except NotAvailableError as error:
        raise MissedOnceError(f"{too_late}; the server said: {error.seen}.") from error
    waited = time.monotonic() - since
    if waited > limit_seconds:
        raise MissedOnceError(f"{too_late}, but after {waited:.1f} s.")
    return waited
