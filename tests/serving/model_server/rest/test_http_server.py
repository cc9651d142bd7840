"""HTTP on the wire: keep-alive, pipelining, limits, refusals, draining."""

import asyncio
import contextlib
import http.client
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.model_server.rest import http_connection
from serving.model_server.rest.http_connection import HttpRequest, HttpResponse, error_page
from serving.model_server.rest.http_server import HttpServer


class Echo:
    """Answers with method, target and body; `/later` only once it is let go."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.waiting = threading.Event()
        self._pool = ThreadPoolExecutor(2)

    def __call__(self, request: HttpRequest) -> HttpResponse | asyncio.Future[HttpResponse]:
        text = b"%s %s %s" % (request.method.encode(), request.target, request.body)
        response = HttpResponse(200, "text/plain", text, (("X-Test", "1"),))
        if request.target != b"/later":
            return response

        def wait() -> HttpResponse:
            self.waiting.set()
            self.may_answer.wait(60)
            return response

        return asyncio.get_running_loop().run_in_executor(self._pool, wait)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def server(echo: Echo) -> Iterator[HttpServer]:
    server = HttpServer(echo)
    yield server
    echo.may_answer.set()
    server.stop(10)


@pytest.fixture
def port(server: HttpServer) -> int:
    return server.start("127.0.0.1", 0)


def exchange(port: int, sent: bytes) -> bytes:
    """Everything the server answers to `sent` until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(sent)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_a_connection_serves_request_after_request(port: int) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for number in range(3):
        client.request("POST", f"/{number}", b"body")
        answer = client.getresponse()
        assert (answer.status, answer.read()) == (200, b"POST /%d body" % number)
        assert answer.getheader("Content-Type") == "text/plain"
        assert answer.getheader("X-Test") == "1"
        assert answer.getheader("Date", "").endswith("GMT")
    client.close()


def test_requests_sent_at_once_are_answered_in_order(port: int, echo: Echo) -> None:
    answers: list[bytes] = []
    sent = b"GET /later HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nConnection: close\r\n\r\n"
    client = threading.Thread(target=lambda: answers.append(exchange(port, sent)))
    client.start()
    assert echo.waiting.wait(30)
    echo.may_answer.set()
    client.join()
    assert answers[0].index(b"GET /later") < answers[0].index(b"GET /b")


def test_a_body_may_come_in_chunks(port: int) -> None:
    sent = (
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    assert exchange(port, sent).endswith(b"POST / abcde")


def test_http_1_0_closes_unless_asked_to_keep_alive(port: int) -> None:
    answer = exchange(port, b"GET / HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"Connection: close" in answer
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"Connection: keep-alive" in client.recv(65536)
        client.sendall(b"GET /again HTTP/1.0\r\n\r\n")
        assert b"GET /again" in client.recv(65536)


def test_a_client_that_waits_for_continue_is_told_to_go_on(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        client.sendall(head)
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"ab")
        assert client.recv(65536).endswith(b"POST / ab")


def test_other_expectations_fail(port: int) -> None:
    sent = b"POST / HTTP/1.1\r\nExpect: 200-ok\r\nContent-Length: 2\r\n\r\nab"
    assert exchange(port, sent).startswith(b"HTTP/1.1 417 Expectation Failed\r\n")


def test_head_is_answered_without_a_body(port: int) -> None:
    answer = exchange(port, b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"GET / HTTP/9.9\r\n\r\n",
        b"FETCH / HTTP/1.1\r\n\r\n",
        b"PROPFIND / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * (2 << 20),
    ],
)
def test_what_is_no_http_is_a_bad_request_and_ends_the_connection(port: int, sent: bytes) -> None:
    answer = exchange(port, sent)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Content-Type: text/html\r\nConnection: close\r\n" in answer
    assert answer.endswith(error_page(400).body)


def test_methods_that_evhttp_refuses_are_not_implemented(port: int) -> None:
    answer = exchange(port, b"TRACE / HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 501 Not Implemented\r\n")


def test_a_body_beyond_the_limit_is_refused(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "MAX_BODY_BYTES", 1000)
    answer = exchange(port, b"POST / HTTP/1.1\r\nContent-Length: 2000\r\n\r\n" + b"x" * 1500)
    assert answer.startswith(b"HTTP/1.1 413 Request Entity Too Large\r\n")


def test_an_offered_upgrade_is_ignored(port: int) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    assert exchange(port, b"GET / HTTP/1.1\r\n" + upgrade + b"\r\n").endswith(b"GET / ")
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"POST / HTTP/1.1\r\n" + upgrade + b"Content-Length: 4\r\n\r\n")
        client.sendall(b"ab")
        client.sendall(b"cd")
        assert client.recv(65536).endswith(b"POST / abcd")


def test_a_client_that_leaves_before_its_answer_does_no_harm(port: int, echo: Echo) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"GET /later HTTP/1.1\r\n\r\n")
        assert echo.waiting.wait(30)
    echo.may_answer.set()
    assert exchange(port, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").endswith(b"GET / ")


def test_a_client_that_stops_sending_still_gets_its_answers(port: int, echo: Echo) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"GET /later HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        assert echo.waiting.wait(30)
        client.shutdown(socket.SHUT_WR)
        echo.may_answer.set()
        answers = b"".join(iter(lambda: client.recv(65536), b""))
    assert b"GET /later" in answers
    assert answers.endswith(b"GET /b ")


def test_stop_lets_answers_under_way_finish(server: HttpServer, port: int, echo: Echo) -> None:
    answers: list[bytes] = []
    sent = b"GET /later HTTP/1.1\r\n\r\n"
    client = threading.Thread(target=lambda: answers.append(exchange(port, sent)))
    client.start()
    assert echo.waiting.wait(30)
    with socket.create_connection(("127.0.0.1", port)) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert idle.recv(65536)
        stopping = threading.Thread(target=server.stop, args=(30,))
        stopping.start()
        assert idle.recv(65536) == b""
        echo.may_answer.set()
        stopping.join()
    client.join()
    assert answers[0].endswith(b"GET /later ")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_stop_does_not_wait_beyond_its_grace(server: HttpServer, port: int, echo: Echo) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"GET /later HTTP/1.1\r\n\r\n")
        assert echo.waiting.wait(30)
        server.stop(0.01)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(65536) == b""
        echo.may_answer.set()


def test_a_busy_port_is_an_error(server: HttpServer, port: int, echo: Echo) -> None:
    with pytest.raises(OSError):
        HttpServer(echo).start("127.0.0.1", port)


def test_all_interfaces_are_served_without_a_host(server: HttpServer) -> None:
    port = server.start("", 0)
    assert exchange(port, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").endswith(b"GET / ")
