"""Asking a model server what it serves: the one request, and the one loop that waits.

Everything that asks for a state uses this: clients, `serve`, `models`, infra validation and the
live check. Importing it takes no time: what speaks HTTP is imported by whoever asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any
from urllib.parse import quote

from serving.addresses import base_url
from serving.client.errors import (
    ClientError,
    ModelFailedError,
    NotAvailableError,
    NotFoundError,
    TimeoutExceededError,
    UnavailableError,
    understood,
)
from serving.status import Code, State, VersionStatus

_POLL_SECONDS = 0.05
_ANSWER_SECONDS = 5.0

Ask = Callable[[float], Sequence[VersionStatus]]


def fetch_status(
    server: str, model_name: str, timeout: float = _ANSWER_SECONDS, version: int | None = None
) -> list[VersionStatus]:
    """Asks a server over REST for the states of a model's versions, or of one; newest first.

    Args:
        server: `http://host:port`; the scheme may be left out.
        model_name: under which the server serves the model.
        timeout: seconds until it must have answered.
        version: of which the state is wanted; None: of all.

    Raises:
        NotFoundError: the server has no such model or version.
        UnavailableError: nothing answers there, or what answers is not a model server, or one that
            cannot say now.
    """
    from serving.client.rest_transport import ask

    url = f"{base_url(server)}/v1/models/{quote(model_name, safe='')}"
    if version is not None:
        url = f"{url}/versions/{version}"
    try:
        return parse_statuses(url, ask(url, timeout))
    except ClientError as error:
        if isinstance(error, NotFoundError) and error.of_model_server:
            raise NotFoundError(Code.NOT_FOUND, f"{url} is not served") from error
        raise UnavailableError(
            Code.UNAVAILABLE, f"no model server answers at {url}: {error.message}"
        ) from error


def known_versions(server: str, model_name: str) -> dict[int, VersionStatus]:
    """Returns the status of each version by its number; empty for a model that is not known.

    Raises UnavailableError as `fetch_status` does.
    """
    try:
        return {status.version: status for status in fetch_status(server, model_name)}
    except NotFoundError:
        return {}


def parse_statuses(url: str, answer: Any) -> list[VersionStatus]:
    """Reads GetModelStatus's answer in JSON, newest first.

    Raises ClientError if it is anything else.
    """
    with understood(url):
        statuses = []
        for item in answer["model_version_status"]:
            error = item.get("status", {})
            statuses.append(
                VersionStatus(
                    int(item["version"]),
                    State[item["state"]],
                    Code[error.get("error_code", "OK")],
                    str(error.get("error_message", "")),
                )
            )
        return sorted(statuses, key=lambda status: -status.version)


def wait_until_available(
    ask: Ask,
    timeout: float,
    what: str,
    *,
    wanted: Collection[int] = (),
    check: Callable[[], None] = lambda: None,
) -> VersionStatus:
    """Asks again and again until versions are AVAILABLE; returns the newest of them.

    A server that is not up yet, or does not know the model yet, is waited for.

    Args:
        ask: returns the states; is given the seconds that its answer may take.
        timeout: in seconds; the server is asked at least once.
        what: is waited for, in messages.
        wanted: all of these versions are waited for; empty: for any version.
        check: raises if there is nothing to wait for any more, because the server has ended.

    Raises:
        ModelFailedError: the server gave up a wanted version, or all there are.
        NotAvailableError: with what was seen last.
    """
    deadline = time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        try:
            statuses = list(ask(min(max(left, 1.0), _ANSWER_SECONDS)))
            seen, answered = ", ".join(map(_described, statuses)) or "no version", True
        except (UnavailableError, NotFoundError, TimeoutExceededError) as error:
            statuses, seen = [], error.message
            answered = isinstance(error, NotFoundError)
        relevant = [item for item in statuses if not wanted or item.version in wanted]
        available = [item for item in relevant if item.is_available]
        if available and (not wanted or len(available) == len(set(wanted))):
            return available[0]
        _raise_if_given_up(relevant, bool(wanted), what)
        check()
        if time.monotonic() >= deadline:
            raise NotAvailableError(
                f"{what} is not AVAILABLE after {timeout:g} s: {seen}", seen, answered=answered
            )
        time.sleep(_POLL_SECONDS)


def _raise_if_given_up(statuses: list[VersionStatus], wanted: bool, what: str) -> None:
    failed = [item for item in statuses if item.has_failed]
    if failed and (wanted or len(failed) == len(statuses)):
        newest = failed[0]
        raise ModelFailedError(
            newest.code or Code.UNKNOWN,
            f"{what}: version {newest.version} was not loaded: {newest.message}",
            newest.message,
        )


def _described(status: VersionStatus) -> str:
    return f"{status.version} {status.state.name} {status.message}".strip()
