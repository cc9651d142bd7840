"""Reading requests: what comes out does not depend on how the bytes come, and has bounds."""

import pytest

from serving.model_server.rest.http_reader import RequestReader
from serving.model_server.rest.limits import Budget, Limits

LIMITS = Limits(max_body_bytes=100_000, max_memory_bytes=300_000)
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: z\r\n\r\n"


@pytest.fixture
def budget() -> Budget:
    return Budget(LIMITS.max_memory_bytes)


@pytest.fixture
def reader(budget: Budget) -> RequestReader:
    return RequestReader(LIMITS, budget)


def bodies(reader: RequestReader) -> list[bytes]:
    return [exchange.request.body for exchange in reader.exchanges]


def statuses(reader: RequestReader) -> list[int]:
    return [item.refusal.status if item.refusal else 200 for item in reader.exchanges]


@pytest.mark.parametrize("piece", [1, 2, 7, 1000])
@pytest.mark.parametrize("upgrade", [b"", UPGRADE])
@pytest.mark.parametrize(
    "rest",
    [
        CHUNKED + b"\r\n" + CHUNKS,
        b"Content-Length: 5\r\n\r\nabcde",
        b"content-length:5\r\nX: y\r\n\r\nabcde",
        b"Content-Length: " + b"0" * 5000 + b"5\r\n\r\nabcde",
    ],
)
def test_a_body_comes_whole_however_it_is_sent(
    reader: RequestReader, piece: int, upgrade: bytes, rest: bytes
) -> None:
    sent = b"POST /a HTTP/1.1\r\n" + upgrade + rest
    for start in range(0, len(sent), piece):
        reader.feed(sent[start : start + piece])
    assert bodies(reader) == [b"abcde"]
    assert reader.exchanges[0].request.target == b"/a"
    assert reader.exchanges[0].keep_alive == (not upgrade)


def test_an_offered_upgrade_without_a_body_is_a_request_like_others(
    reader: RequestReader,
) -> None:
    reader.feed(b"GET /a HTTP/1.1\r\n" + UPGRADE + b"\r\n")
    assert [item.request.method for item in reader.exchanges] == ["GET"]


@pytest.mark.parametrize(
    "sent",
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 300 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000,
        b"GET /" + b"x" * 70_000,
        b"POST / HTTP/1.1\r\n" + CHUNKED + b"\r\n1;" + b"x" * 70_000,
        b"POST / HTTP/1.1\r\n" + CHUNKED + b"\r\n0\r\n" + b"a: b\r\n" * 300 + b"\r\n",
    ],
)
def test_what_is_malformed_or_has_too_large_a_head_is_a_bad_request(
    reader: RequestReader, sent: bytes
) -> None:
    for start in range(0, len(sent), 1000):
        reader.feed(sent[start : start + 1000])
    assert statuses(reader) == [400]
    assert reader.ended


def test_nothing_is_read_after_a_refusal(reader: RequestReader, budget: Budget) -> None:
    reader.feed(b"GET / HTTP/1.1\r\n\r\nnonsense\r\n\r\nGET / HTTP/1.1\r\n\r\n")
    reader.feed(b"POST / HTTP/1.1\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90_000)
    assert statuses(reader) == [200, 400]
    assert budget.held == 0


def test_an_announced_body_beyond_the_limit_is_refused_before_it_is_asked_for(
    budget: Budget,
) -> None:
    written: list[bytes] = []
    reader = RequestReader(LIMITS, budget, written.append)
    reader.feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 100001\r\n\r\n")
    assert statuses(reader) == [413]
    assert not written


def test_an_announced_body_that_the_budget_has_no_room_for_is_refused(budget: Budget) -> None:
    written: list[bytes] = []
    assert budget.take(250_000)
    reader = RequestReader(LIMITS, budget, written.append)
    reader.feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 60000\r\n\r\n")
    assert statuses(reader) == [503]
    assert not written


def test_a_chunked_body_beyond_the_limit_is_refused(reader: RequestReader) -> None:
    reader.feed(b"POST / HTTP/1.1\r\n" + CHUNKED + b"\r\n")
    for _ in range(101):
        reader.feed(b"400\r\n" + b"x" * 1024 + b"\r\n")
    assert statuses(reader) == [413]


def test_bodies_that_grow_together_beyond_the_budget_are_refused_and_small_ones_are_not(
    budget: Budget,
) -> None:
    readers = [RequestReader(LIMITS, budget) for _ in range(10)]
    for reader in readers:
        reader.feed(b"POST / HTTP/1.1\r\nContent-Length: 90001\r\n\r\n" + b"x" * 90_000)
    refused = [reader for reader in readers if reader.ended]
    assert 6 <= len(refused) < 10
    assert all(statuses(reader) == [503] for reader in refused)
    small = RequestReader(LIMITS, budget)
    small.feed(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
    assert bodies(small) == [b"abc"]
    for reader in readers:
        reader.end()
    assert budget.held == 0


def test_a_body_in_tiny_chunks_takes_no_more_than_its_bytes(
    reader: RequestReader, budget: Budget
) -> None:
    reader.feed(b"POST / HTTP/1.1\r\n" + CHUNKED + b"\r\n")
    for _ in range(5_000):
        reader.feed(b"2\r\nab\r\n" * 10)
    assert budget.held < 170_000
    reader.feed(b"0\r\n\r\n")
    assert bodies(reader) == [b"ab" * 50_000]


def test_a_request_with_much_in_its_headers_counts(reader: RequestReader, budget: Budget) -> None:
    reader.feed(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n")
    assert budget.held > 20_000
    reader.exchanges.clear()
    assert budget.held == 0
