"""What the recorder takes in, how much of it waits, and what is asked together."""

import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from tensorflow_serving.apis import classification_pb2

from serving.edge.answer_log import AnswerLog
from serving.edge.answers import Recording
from serving.edge.copies import Backlog, Copy, Recorded, receive
from serving.edge.recorder import write_all
from serving.launch.base import free_ports
from serving.traffic.reading import newest_logs
from serving.traffic.recording import TrafficRecorder


def copy(number: int, body: bytes = b"{}", variant: str = "stable", verb: str = "classify") -> Copy:
    return Copy(verb, body, variant, str(number), 1e9 + number)


def example(value: float) -> bytes:
    return b'{"examples": [{"x": %f}]}' % value


def test_copies_come_in_whole_however_they_are_cut() -> None:
    backlog, [port] = Backlog(), free_ports(1)
    receive(port, backlog)
    head = b"POST /m HTTP/1.1\r\nX-Verb: predict\r\nX-Variant: canary\r\nX-Request-Id: 7\r\n"
    request = head + b"X-Time: 12.5\r\nContent-Length: 5\r\n\r\nhello"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        for place in range(len(request)):
            connection.sendall(request[place : place + 1])
        connection.sendall(request * 2)
        answers = b""
        while answers.count(b"204") < 3:
            answers += connection.recv(1000)
    assert backlog.take(10) == [Copy("predict", b"hello", "canary", "7", 12.5)] * 3


def test_what_is_no_copy_ends_its_connection() -> None:
    backlog, [port] = Backlog(), free_ports(1)
    receive(port, backlog)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n")
        assert connection.recv(100) == b""


def test_few_wait_and_the_others_are_counted() -> None:
    backlog = Backlog()
    for number in range(600):
        backlog.add(copy(number))
    assert backlog.dropped == 100
    assert [each.request_id for each in backlog.take(0)] == [str(n) for n in range(32)]


def test_what_nobody_foresaw_costs_the_copies_at_hand_and_no_other() -> None:
    backlog, stopping = Backlog(), threading.Event()
    backlog.add(Copy("classify", b"first", "stable", "1", 0.0))
    seen: list[bytes] = []

    def record(copies: Sequence[Copy]) -> Recorded:
        for copy in copies:
            seen.append(copy.body)
            if copy.body == b"first":
                backlog.add(Copy("classify", b"second", "stable", "2", 0.0))
                raise ZeroDivisionError("a bug")
            stopping.set()
        return Recorded(len(copies))

    write_all(backlog, record, stopping, 0.01)
    assert seen == [b"first", b"second"]


def test_what_waits_is_written_before_it_ends() -> None:
    backlog, stopping, written = Backlog(), threading.Event(), []

    def record(copies: Sequence[Copy]) -> Recorded:
        written.extend(copies)
        return Recorded(len(copies), [OSError("one was lost")])

    for number in range(100):
        backlog.add(copy(number))
    stopping.set()
    write_all(backlog, record, stopping, 0.01)
    assert len(written) == 100


class Server:
    """Says of each example its number, and refuses those below 0."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def Classify(self, request: Any, timeout: float) -> Any:
        values = [
            each.features.feature["x"].float_list.value[0]
            for each in request.input.example_list.examples
        ]
        self.calls.append(len(values))
        if min(values) < 0:
            raise Refusal
        answer = classification_pb2.ClassificationResponse()
        answer.model_spec.version.value = 2 if request.model_spec.version_label else 1
        for value in values:
            row = answer.result.classifications.add()
            row.classes.add(label=str(int(value)), score=1.0)
        return answer


class Refusal(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    recorder = TrafficRecorder(tmp_path / "recorded", "m", 1 << 20, 1 << 20)
    log = AnswerLog(tmp_path / "answers.log")
    recording = Recording(recorder, log, tmp_path / "base", "m", "127.0.0.1:1")
    recording._service = Server()
    return recording


def recorded(tmp_path: Path) -> dict[str, tuple[str, int]]:
    """Label and version by request id."""
    found = {}
    for log in newest_logs(tmp_path / "recorded", "m", 1000):
        [row] = log.classify_log.response.result.classifications
        [_] = log.classify_log.request.input.example_list.examples
        number = log.log_metadata.model_spec.version.value
        request_id = log.log_metadata.request_origin.rpartition("/")[2]
        found[request_id] = (row.classes[0].label, number)
    return found


def test_classifications_are_asked_together_and_each_gets_its_own_answer(
    recording: Recording, tmp_path: Path
) -> None:
    copies = [copy(n, example(n), "canary" if n % 2 else "stable") for n in range(10)]
    assert recording.record(copies) == Recorded(10, [])
    assert recording._service.calls == [5, 5]
    assert recorded(tmp_path) == {str(n): (str(n), 1 + n % 2) for n in range(10)}


def test_one_that_the_model_refuses_or_that_is_no_request_costs_no_other(
    recording: Recording, tmp_path: Path
) -> None:
    copies = [copy(1, example(1)), copy(2, example(-1)), copy(3, b"{"), copy(4, example(4))]
    done = recording.record(copies)
    assert (done.written, len(done.errors)) == (2, 2)
    assert set(recorded(tmp_path)) == {"1", "4"}
