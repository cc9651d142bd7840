"""The page: whole in itself, and what it refuses before a model server is asked."""

import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import requests
from starlette.testclient import TestClient

from data.photos import prepare
from serving.client.interface import PreparedPicture
from serving.launch.base import free_ports
from serving.ui import app as ui
from serving.ui.app import ui_app
from serving.ui.server import ui_server


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(
        ui_app("http://127.0.0.1:1", "fashion_mnist", prepare), base_url="http://127.0.0.1"
    ) as client:
        yield client


def test_the_page_loads_nothing_from_anywhere_else(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert not re.search(r"https?://|//\w|@import|url\(", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_a_file_that_is_no_picture_is_refused_in_a_sentence(client: TestClient) -> None:
    answer = client.post("/api/classify", content=b"no picture")
    assert answer.status_code == 415
    assert answer.json() == {
        "error": "This file cannot be read: it is not a picture in a known format."
    }


def test_an_empty_and_a_huge_file_are_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ui, "_MAX_BYTES", 100)
    assert client.post("/api/classify").status_code == 400
    assert client.post("/api/classify", content=b"x" * 101).status_code == 413
    chunks = iter([b"x" * 60, b"x" * 60])
    assert client.post("/api/classify", content=chunks).status_code == 413
    for length in ("0" * 5000 + "101", "9" * 5000):
        answer = client.post("/api/classify", content=b"", headers={"content-length": length})
        assert answer.status_code == 413


def test_a_model_server_that_is_gone_is_told(client: TestClient) -> None:
    answer = client.get("/api/model")
    assert answer.status_code == 503
    assert answer.json() == {"error": "The model server does not answer."}


def test_other_names_for_this_machine_are_refused(client: TestClient) -> None:
    for other in ("evil.example", "testserver", "127.0.0.1.evil.example:8502", "[::2]:8502"):
        assert client.get("/", headers={"host": other}).status_code == 400
    for local in ("localhost:8502", "127.0.0.1", "[::1]:8502"):
        assert client.get("/", headers={"host": local}).status_code == 200


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A page that has place for one picture, and waits a second for it."""
    monkeypatch.setattr(ui, "_MAX_PICTURES", 1)
    monkeypatch.setattr(ui, "_BODY_SECONDS", 1.0)
    [port] = free_ports(1)
    with ui_server("127.0.0.1", port, "http://127.0.0.1:1", "fashion_mnist", prepare):
        yield port


def begin_upload(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=60)
    client.sendall(b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
    return client


def test_a_picture_that_is_not_sent_to_its_end_is_let_go(port: int) -> None:
    with begin_upload(port) as client:
        answer = client.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the file was not sent within 1 seconds" in answer


def test_pictures_wait_for_a_place_and_are_answered_when_slower_ones_were_let_go(
    port: int,
) -> None:
    started = time.monotonic()
    with begin_upload(port), begin_upload(port):
        answer = requests.post(f"http://127.0.0.1:{port}/api/classify", b"no picture", timeout=60)
    assert answer.status_code == 415
    assert time.monotonic() - started > 1.0


def test_a_client_that_leaves_in_mid_picture_makes_no_noise(
    port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    begin_upload(port).close()
    answer = requests.post(f"http://127.0.0.1:{port}/api/classify", b"no picture", timeout=60)
    assert answer.status_code == 415
    assert "Traceback" not in capfd.readouterr().err


def test_a_head_without_end_is_refused(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_no_more_pictures_are_held_than_there_are_places(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held, most, lock = 0, 0, threading.Lock()
    all_places = threading.Barrier(ui._MAX_PICTURES, timeout=60)

    def slow(content: bytes) -> PreparedPicture:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        all_places.wait()
        time.sleep(0.1)  # One too many would come in now.
        with lock:
            held -= 1
        raise ValueError("it is none")

    monkeypatch.setattr(ui, "_DECODING", threading.BoundedSemaphore(99))
    [port] = free_ports(1)
    with ui_server("127.0.0.1", port, "http://127.0.0.1:1", "fashion_mnist", slow):
        url = f"http://127.0.0.1:{port}/api/classify"
        clients = [
            threading.Thread(target=requests.post, args=(url, b"x"), kwargs={"timeout": 60})
            for _ in range(3 * ui._MAX_PICTURES)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
    assert most == ui._MAX_PICTURES
