"""The page: whole in itself, and what it refuses before a model server is asked."""

import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from data.photos import prepare
from serving.ui import app as ui
from serving.ui.app import ui_app


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


def test_a_model_server_that_is_gone_is_told(client: TestClient) -> None:
    answer = client.get("/api/model")
    assert answer.status_code == 503
    assert answer.json() == {"error": "The model server does not answer."}


def test_other_names_for_this_machine_are_refused(client: TestClient) -> None:
    for other in ("evil.example", "testserver", "127.0.0.1.evil.example:8502", "[::2]:8502"):
        assert client.get("/", headers={"host": other}).status_code == 400
    for local in ("localhost:8502", "127.0.0.1", "[::1]:8502"):
        assert client.get("/", headers={"host": local}).status_code == 200
