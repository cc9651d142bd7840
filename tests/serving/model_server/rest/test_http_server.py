"""HTTP on the wire: keep-alive, pipelining, limits, refusals, draining."""

import asyncio
import contextlib
import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.model_server.rest.http_connection import Connection
from serving.model_server.rest.http_messages import HttpRequest, HttpResponse, error_page
from serving.model_server.rest.http_server import HttpServer
from serving.model_server.rest.limits import Budget, Limits


class Echo:
    """Answers with method, target and body; `/later` only once it is let go."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.waiting = threading.Event()
        self._pool = ThreadPoolExecutor(2)

    def __call__(self, request: HttpRequest) -> HttpResponse | asyncio.Future[HttpResponse]:
        text = b"%s %s %s" % (request.method.encode(), request.target, request.body)
        response = HttpResponse(200, "text/plain", text, (("X-Test", "1"),))
        if request.target == b"/alone":
            return HttpResponse(200, "text/plain", b"%d" % request.is_alone)
        if request.target == b"/bug":
            raise ZeroDivisionError("a bug")
        if request.target == b"/large":
            return HttpResponse(200, "text/plain", bytes(int(request.body)))
        if request.target not in (b"/later", b"/later-bug"):
            return response

        def wait() -> HttpResponse:
            self.waiting.set()
            self.may_answer.wait(60)
            if request.target == b"/later-bug":
                raise ZeroDivisionError("a bug")
            return response

        return asyncio.get_running_loop().run_in_executor(self._pool, wait)


@pytest.fixture
def echo() -> Echo:
    return Echo()


LIMITS = Limits(max_body_bytes=1000, max_connections=20, timeout_seconds=1.0)


@pytest.fixture
def budget() -> Budget:
    return Budget(64 << 20)


@pytest.fixture
def server(echo: Echo, budget: Budget) -> Iterator[HttpServer]:
    server = HttpServer(echo, LIMITS, budget)
    yield server
    echo.may_answer.set()
    server.stop(10)


@pytest.fixture
def port(server: HttpServer) -> int:
    return server.start("127.0.0.1", 0)


def exchange(port: int, sent: bytes) -> bytes:
    """Everything the server answers to `sent` until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(sent)
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_a_connection_serves_request_after_request(port: int) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
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
    assert echo.waiting.wait(60)
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
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"Connection: keep-alive" in client.recv(65536)
        client.sendall(b"GET /again HTTP/1.0\r\n\r\n")
        assert b"GET /again" in client.recv(65536)


def test_a_client_that_waits_for_continue_is_told_to_go_on(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
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


def test_a_body_beyond_the_limit_is_refused(port: int) -> None:
    answer = exchange(port, b"POST / HTTP/1.1\r\nContent-Length: 2000\r\n\r\n" + b"x" * 1500)
    assert answer.startswith(b"HTTP/1.1 413 Request Entity Too Large\r\n")


def test_an_offered_upgrade_is_ignored(port: int) -> None:
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    assert exchange(port, b"GET / HTTP/1.1\r\n" + upgrade + b"\r\n").endswith(b"GET / ")
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"POST / HTTP/1.1\r\n" + upgrade + b"Content-Length: 4\r\n\r\n")
        client.sendall(b"ab")
        client.sendall(b"cd")
        assert client.recv(65536).endswith(b"POST / abcd")


def test_a_client_that_leaves_before_its_answer_does_no_harm(port: int, echo: Echo) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET /later HTTP/1.1\r\n\r\n")
        assert echo.waiting.wait(60)
    echo.may_answer.set()
    assert exchange(port, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").endswith(b"GET / ")


def test_a_client_that_stops_sending_still_gets_its_answers(port: int, echo: Echo) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET /later HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")
        assert echo.waiting.wait(60)
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
    assert echo.waiting.wait(60)
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
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET /later HTTP/1.1\r\n\r\n")
        assert echo.waiting.wait(60)
        server.stop(0.01)
        with contextlib.suppress(ConnectionResetError):
            assert client.recv(65536) == b""
        echo.may_answer.set()


def test_a_busy_port_is_an_error(server: HttpServer, port: int, echo: Echo) -> None:
    with pytest.raises(OSError):
        HttpServer(echo, Limits(), Budget(1)).start("127.0.0.1", port)


def test_all_interfaces_are_served_without_a_host(server: HttpServer) -> None:
    port = server.start("", 0)
    assert exchange(port, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").endswith(b"GET / ")


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether `holds` within a minute."""
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return holds()


def serves(port: int) -> bool:
    return exchange(port, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").endswith(b"GET / ")


@pytest.mark.parametrize("target", [b"/bug", b"/later-bug"])
def test_a_handler_that_fails_is_an_answer_and_the_connection_goes_on(
    port: int, echo: Echo, target: bytes
) -> None:
    echo.may_answer.set()
    answer = exchange(port, b"GET %s HTTP/1.1\r\n\r\n" % target)
    assert answer.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert b'"error": "Internal error, see the server\'s log."' in answer
    assert serves(port)


def test_a_connection_that_fails_leaves_the_others(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: Connection, now: float) -> None:
        raise ZeroDivisionError("a bug")

    with connect(port) as client:
        monkeypatch.setattr(Connection, "enforce_times", fail)
        assert client.recv(1) == b""
        monkeypatch.undo()
    assert serves(port)


@pytest.mark.parametrize(
    "sent",
    [
        b"G",
        b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n",
    ],
)
def test_a_request_that_does_not_come_in_time_is_refused(port: int, sent: bytes) -> None:
    answer = exchange(port, sent).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
        "error": "The request was not sent within 1 seconds"
    }


def test_a_client_that_trickles_is_refused_all_the_same(port: int) -> None:
    with connect(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        client.settimeout(0.05)
        answer = b""
        while not answer:
            client.sendall(b"x")
            with contextlib.suppress(TimeoutError):
                answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_read_its_answer_is_left(port: int, budget: Budget) -> None:
    with connect(port) as client:
        client.sendall(b"POST /large HTTP/1.1\r\nContent-Length: 8\r\n\r\n50000000")
        assert client.recv(1)
        assert eventually(lambda: budget.held >= 50_000_000)
        assert eventually(lambda: budget.held == 0)
        assert len(b"".join(iter(lambda: client.recv(1 << 20), b""))) < 50_000_000
    assert serves(port)


def test_a_client_that_reads_has_its_large_answer(port: int, budget: Budget) -> None:
    sent = b"POST /large HTTP/1.1\r\nConnection: close\r\nContent-Length: 6\r\n\r\n900000"
    assert exchange(port, sent).endswith(bytes(900_000))
    assert serves(port)
    assert budget.held == 0


def test_an_answer_beyond_the_budget_is_refused(port: int) -> None:
    sent = b"POST /large HTTP/1.1\r\nConnection: close\r\nContent-Length: 9\r\n\r\n100000000"
    assert exchange(port, sent).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")


def test_pipelined_requests_whose_answers_nobody_reads_wait_in_bounds(
    port: int, budget: Budget
) -> None:
    """The client can send no more once some answers are due and the socket's buffers are full."""
    with connect(port) as client:
        client.setblocking(False)
        sent, stalled_since = 0, time.monotonic()
        while time.monotonic() - stalled_since < 0.3:
            try:
                sent += client.send(b"GET / HTTP/1.1\r\n\r\n" * 10_000)
                stalled_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
            except ConnectionError:
                break
        assert budget.held <= 1_000_000
        assert sent < 50_000_000
    assert serves(port)


def test_many_pipelined_requests_are_all_answered_in_order(port: int) -> None:
    count = 5_000
    sent = b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % number for number in range(count))
    answers: list[bytes] = []
    with connect(port) as client:
        writer = threading.Thread(target=client.sendall, args=(sent,))
        writer.start()
        stream = client.makefile("rb")
        for _ in range(count):
            while (line := stream.readline()) != b"\r\n":
                if line.startswith(b"Content-Length: "):
                    length = int(line.removeprefix(b"Content-Length: "))
            answers.append(stream.read(length))
        writer.join()
    assert answers == [b"GET /%d " % number for number in range(count)]


def test_idle_connections_give_way_when_there_are_too_many(port: int) -> None:
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(port)) for _ in range(20)]
        time.sleep(1.1)
        assert serves(port)
        idle[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert idle[-1].recv(1), "of the idle ones, the newest stay"


def test_connections_past_the_limit_are_refused(port: int, echo: Echo) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            client = stack.enter_context(connect(port))
            client.sendall(b"GET /later HTTP/1.1\r\n\r\n")
        assert echo.waiting.wait(60)
        answer = exchange(port, b"GET / HTTP/1.1\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"There are 20 connections already" in answer
        echo.may_answer.set()
    assert eventually(lambda: serves(port))


def test_a_flood_of_connections_leaves_no_handles(port: int, server: HttpServer) -> None:
    for _ in range(10):
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    stack.enter_context(connect(port))
    assert eventually(lambda: not server._connections)
    assert serves(port)


def test_a_client_that_breaks_off_takes_its_waiting_work_along(
    port: int, echo: Echo, server: HttpServer
) -> None:
    for _ in range(5):
        with connect(port) as client:
            client.sendall(b"GET /later HTTP/1.1\r\n\r\n")
            assert echo.waiting.wait(60)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert eventually(lambda: not server._answers)
    echo.may_answer.set()
    assert serves(port)


def test_a_client_is_alone_until_another_asks(port: int) -> None:
    def is_alone(client: http.client.HTTPConnection) -> int:
        client.request("GET", "/alone")
        return int(client.getresponse().read())

    one, other = (http.client.HTTPConnection("127.0.0.1", port, timeout=60) for _ in range(2))
    assert [is_alone(one) for _ in range(10)] == [0] * 8 + [1, 1]
    assert [is_alone(client) for client in (other, one, other, one)] == [0] * 4
    assert [is_alone(one) for _ in range(8)][-1] == 1
    one.close()
    other.close()
