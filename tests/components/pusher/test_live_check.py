"""The live check: what a server answers to the one request decides, what says nothing does not."""

from pathlib import Path

import pytest

from components.infra_validator.warmup_requests import write_warmup
from components.pusher import live_check
from components.pusher.live_check import (
    LiveCheckError,
    LiveServerSilentError,
    check_live_server,
)
from serving.client.grpc_messages import predict_pb2
from tests.raw_servers import DRIPS, ODD, SAID, STATUS, ends_within, raw_server

GOOD = STATUS + b'{"outputs": [1.0]}'


def refusal(code: int, body: str) -> bytes:
    return f"HTTP/1.1 {code} No\r\n\r\n{body}".encode()


def says(text: str) -> str:
    return f'{{"error": "{text}"}}'


@pytest.fixture(autouse=True)
def _no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_check, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(live_check, "_ANSWER_SECONDS", 5.0)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model with one warmup request."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    write_warmup(tmp_path, [request])
    return tmp_path


def check(model: Path, *answers: bytes, rest: bytes = GOOD) -> None:
    """Checks a server that serves version 7 and gives these answers to requests."""
    posts = iter([*([answer] for answer in answers), *[[rest]] * 10])
    with raw_server([STATUS + SAID], posts=posts) as server:
        check_live_server(server, "m", 7, model, 5.0)


def test_a_server_that_answers_with_the_version_passes(model: Path) -> None:
    check(model, GOOD)


@pytest.mark.parametrize(
    ("code", "why"),
    [(400, "no such signature"), (404, "Servable not found"), (500, "the graph is broken")],
)
def test_a_model_servers_error_is_a_verdict_at_once(model: Path, code: int, why: str) -> None:
    with pytest.raises(LiveCheckError, match=why):
        check(model, refusal(code, says(why)))


@pytest.mark.parametrize("code", [401, 403, 404, 413, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("lasts", [False, True])
def test_a_proxys_page_is_asked_again_and_is_no_verdict(
    model: Path, code: int, lasts: bool
) -> None:
    page = refusal(code, "<html>")
    if not lasts:
        check(model, page, page)
        return
    with pytest.raises(LiveServerSilentError, match=f"HTTP {code}"):
        check(model, rest=page)


@pytest.mark.parametrize("code", [401, 403, 429, 503, 504])
def test_nor_is_what_a_server_says_of_itself(model: Path, code: int) -> None:
    check(model, refusal(code, says("overloaded")))
    with pytest.raises(LiveServerSilentError, match="overloaded"):
        check(model, rest=refusal(code, says("overloaded")))


# Of an answer to a request, only that it is JSON is looked at.
@pytest.mark.parametrize("name", sorted(ODD.keys() - {"other JSON", "a number"}))
def test_nor_is_half_an_answer(model: Path, name: str) -> None:
    check(model, ODD[name])
    with pytest.raises(LiveServerSilentError, match="did not answer"):
        check(model, rest=ODD[name])


@pytest.mark.parametrize("part", DRIPS)
def test_nor_is_an_answer_that_comes_byte_by_byte(
    model: Path, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_check, "_ANSWER_SECONDS", 0.5)
    begin, drop = DRIPS[part]
    posts = iter([[begin, *[drop] * 1_000]] * 3)
    with (
        raw_server([STATUS + SAID], pause=0.05, posts=posts) as server,
        ends_within(30),
        pytest.raises(LiveServerSilentError, match="no answer from"),
    ):
        check_live_server(server, "m", 7, model, 5.0)
