"""Asking a server for a model's states, and waiting: a real small HTTP server answers."""

import http.server
import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from serving.addresses import join_host_port
from serving.client.errors import (
    ModelFailedError,
    NotAvailableError,
    NotFoundError,
    UnavailableError,
    client_error,
)
from serving.client.status import fetch_status, known_versions, wait_until_available
from serving.status import Code, State, VersionStatus
from tests.raw_servers import DRIPS, ODD, SAID, STATUS, dripping, ends_within, raw_server
from tests.test_imports import imported

UNAVAILABLE = client_error(Code.UNAVAILABLE, "not there")

Answering = Callable[..., str]


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Starts a server that gives one answer to everything; returns its address."""
    servers = []

    def start(code: int, body: object, host: str = "127.0.0.1") -> str:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(code)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

        class Server(http.server.ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        server = Server((host, 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return join_host_port(host, server.server_port)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


STATUSES = {
    "model_version_status": [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
        {
            "version": "2",
            "state": "END",
            "status": {"error_code": "NOT_FOUND", "error_message": "no saved_model.pb"},
        },
    ]
}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1"])
@pytest.mark.parametrize("scheme", ["", "http://"])
def test_states_are_asked_for_newest_first(answering: Answering, host: str, scheme: str) -> None:
    server = scheme + answering(200, STATUSES, host)

    assert fetch_status(server, "m") == [
        VersionStatus(2, State.END, Code.NOT_FOUND, "no saved_model.pb"),
        VersionStatus(1, State.AVAILABLE),
    ]
    assert [status.has_failed for status in fetch_status(server, "m")] == [True, False]


def test_loopback_is_asked_without_a_proxy(
    answering: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = answering(200, STATUSES)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)

    assert len(fetch_status(server, "m")) == 2


def test_a_model_that_is_not_known_is_told_from_a_server_that_is_not_there(
    answering: Answering,
) -> None:
    server = answering(404, {"error": "Could not find any versions of model m"})

    with pytest.raises(NotFoundError):
        fetch_status(server, "m")
    assert known_versions(server, "m") == {}
    with pytest.raises(
        UnavailableError, match=r"no model server answers at http://127\.0\.0\.1:1/"
    ):
        known_versions("127.0.0.1:1", "m")


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (200, b"<html>a login page</html>"),
        (200, b"\xff\xfe"),
        (200, []),
        (200, {"model_version_status": [{"version": "1", "state": "DANCING"}]}),
        (200, {"model_version_status": [{"version": None, "state": "END"}]}),
        (500, b"oops"),
        (302, b""),
        (404, b"<html>another server's page</html>"),
        *((code, {"error": "why"}) for code in (401, 403, 429, 500, 502, 503, 504)),
    ],
)
def test_what_is_not_a_model_server_or_cannot_say_now_is_one_error(
    answering: Answering, code: int, body: object
) -> None:
    with pytest.raises(UnavailableError):
        fetch_status(answering(code, body), "m")


@pytest.mark.parametrize("sent", ODD.values(), ids=ODD)
def test_whatever_else_is_sent_is_that_error_too(sent: bytes) -> None:
    with raw_server([sent]) as server, pytest.raises(UnavailableError, match="no model server"):
        fetch_status(server, "m")


@pytest.mark.parametrize("part", DRIPS)
def test_a_server_that_sends_byte_by_byte_does_not_get_more_time(part: str) -> None:
    with dripping(*DRIPS[part]) as server, ends_within(30):
        with pytest.raises(UnavailableError, match=r"no answer from .* within 0\.3 s"):
            fetch_status(server, "m", timeout=0.3)
        with pytest.raises(NotAvailableError) as late:
            wait_until_available(lambda _: fetch_status(server, "m", timeout=0.3), 0, "m")
    assert not late.value.answered


def test_a_slow_answer_that_comes_in_time_is_one() -> None:
    with raw_server([STATUS[:9], STATUS[9:], SAID[:9], SAID[9:]], pause=0.1) as server:
        assert fetch_status(server, "m", timeout=10) == [VersionStatus(7, State.AVAILABLE)]


def test_asking_imports_nothing_that_takes_long() -> None:
    found = imported("-c", "import serving.client.status, serving.addresses")
    assert not found & {"tensorflow", "numpy", "grpc", "requests", "urllib3"}


def statuses(*answers: list[VersionStatus] | Exception) -> Callable[[float], list[VersionStatus]]:
    """The answers in turn; the last one for ever."""
    left = list(answers)

    def status(_seconds: float) -> list[VersionStatus]:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return status


def test_waiting_ends_with_the_first_available_version() -> None:
    status = statuses(
        UNAVAILABLE,
        NotFoundError(Code.NOT_FOUND, "no model yet"),
        [VersionStatus(2, State.LOADING)],
        [VersionStatus(3, State.LOADING), VersionStatus(2, State.AVAILABLE)],
    )
    assert wait_until_available(status, timeout=60, what="m").version == 2


def test_waiting_ends_when_the_server_has_given_up() -> None:
    failed = VersionStatus(2, State.END, Code.NOT_FOUND, "no saved_model.pb")
    with pytest.raises(ModelFailedError, match=r"version 2 was not loaded: no saved_model\.pb"):
        wait_until_available(statuses([failed]), timeout=60, what="m")


def test_a_failed_version_beside_one_that_loads_is_waited_for() -> None:
    failed = VersionStatus(2, State.END, Code.NOT_FOUND, "no saved_model.pb")
    status = statuses(
        [VersionStatus(3, State.LOADING), failed], [VersionStatus(3, State.AVAILABLE), failed]
    )
    assert wait_until_available(status, timeout=60, what="m").version == 3


def test_waiting_ends_with_what_was_seen_last() -> None:
    with pytest.raises(NotAvailableError, match=r"m is not AVAILABLE after 0 s: .*2 LOADING"):
        wait_until_available(statuses([VersionStatus(2, State.LOADING)]), timeout=0, what="m")


def test_all_wanted_versions_are_waited_for() -> None:
    old, new = VersionStatus(1, State.AVAILABLE), VersionStatus(2, State.AVAILABLE)
    status = statuses([old], [VersionStatus(2, State.LOADING), old], [new, old])
    assert wait_until_available(status, 60, "m", wanted={1, 2}).version == 2
    failed = VersionStatus(2, State.END, Code.INTERNAL, "bad")
    with pytest.raises(ModelFailedError, match="version 2 was not loaded: bad"):
        wait_until_available(statuses([failed, old]), 60, "m", wanted={2})


def test_waiting_ends_with_the_server() -> None:
    def check() -> None:
        raise RuntimeError("it has ended")

    with pytest.raises(RuntimeError, match="it has ended"):
        wait_until_available(statuses(UNAVAILABLE), 60, "m", check=check)
