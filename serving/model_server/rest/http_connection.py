"""One HTTP/1.1 connection: bytes to requests, answers to bytes, in the order the requests came.

Where a client can see the server below the API (pages for errors, headers), it answers as evhttp of
libevent, which TensorFlow Serving uses.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias, cast

import httptools

MAX_BODY_BYTES = 1 << 30
_MAX_HEAD_BYTES = 1 << 20
_MAX_PIPELINED_REQUESTS = 64

_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
_REFUSED_METHODS = frozenset({"TRACE", "CONNECT"})


@dataclass(slots=True)
class HttpRequest:
    """One request; header names are lower case, of a repeated header the first counts."""

    method: str
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes


@dataclass(slots=True)
class HttpResponse:
    """One answer; `close` ends the connection after it."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False


Handler: TypeAlias = Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]
"""Answers a request at once, or later without keeping the event loop. It never raises."""


class ConnectionOwner(Protocol):
    """What a connection asks of its server."""

    handler: Handler

    def opened(self, connection: Connection) -> None: ...

    def closed(self, connection: Connection) -> None: ...

    def run(self, coroutine: Coroutine[Any, Any, None]) -> None: ...


def error_page(status: int) -> HttpResponse:
    """The page that evhttp sends for what never reaches the API; it closes the connection."""
    reason = _reason(status)
    page = (
        f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD><BODY>\n"
        f"<H1>{reason}</H1>\n</BODY></HTML>\n"
    )
    return HttpResponse(status, "text/html", page.encode(), close=True)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client Error"


@lru_cache(maxsize=64)
def _head(
    version: str,
    status: int,
    content_type: str,
    headers: tuple[tuple[str, str], ...],
    close: bool,
) -> bytes:
    lines = [f"HTTP/{version} {status} {_reason(status)}", f"Content-Type: {content_type}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if close:
        lines.append("Connection: close")
    elif version == "1.0":
        lines.append("Connection: keep-alive")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()


@dataclass(slots=True)
class _Exchange:
    """A request that was read whole; `refusal` is its answer if the handler is not to see it."""

    request: HttpRequest
    refusal: HttpResponse | None
    version: str = "1.1"
    keep_alive: bool = False


class Connection(asyncio.Protocol):
    """One connection of a server; the methods `on_...` are called by httptools as it reads."""

    def __init__(self, owner: ConnectionOwner) -> None:
        self.last_used = time.monotonic()
        self._owner = owner
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[_Exchange] = deque()
        self._busy = False
        self._stopping = False
        self._write_paused = False
        self._read_no_more = False
        self._head_bytes = 0
        self.on_message_begin()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)
        self._owner.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._waiting.clear()
        self._owner.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._read_no_more:
            return
        self.last_used = time.monotonic()
        if self._parser.should_upgrade():
            self._body_after_upgrade(data)
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._body_after_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(400)
        if self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(400)
        if len(self._waiting) > _MAX_PIPELINED_REQUESTS:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """A client that has sent its last byte still gets the answers under way."""
        self._stopping = True
        return not self.is_idle()

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        expectation = self._headers.get(b"expect", b"").lower()
        if expectation == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif expectation:
            self._refuse(417)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        self._body_bytes += len(body)
        if self._body_bytes > MAX_BODY_BYTES:
            self._refuse(413)
        elif not self._read_no_more:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        if self._read_no_more or self._parser.should_upgrade():
            return
        self._receive()

    def _body_after_upgrade(self, data: bytes) -> None:
        """Reads the body of a request that offers an upgrade, as HTTP/2 clients do.

        The offer is not taken, but httptools takes what follows the head for the other protocol.
        """
        self.on_body(data)
        length = self._headers.get(b"content-length", b"0")
        if not length.isdigit():
            self._refuse(400)
        elif self._body_bytes >= int(length) and not self._read_no_more:
            self._read_no_more = True
            self._body = [b"".join(self._body)[: int(length)]]
            self._receive()

    def _receive(self) -> None:
        """Answers the request that was read, after those before it."""
        method = self._parser.get_method().decode()
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        refusal = None
        if method not in _METHODS:
            refusal = error_page(501 if method in _REFUSED_METHODS else 400)
        self._waiting.append(
            _Exchange(
                HttpRequest(method, self._target, self._headers, body),
                refusal,
                self._parser.get_http_version(),
                self._parser.should_keep_alive() and not self._parser.should_upgrade(),
            )
        )
        self._answer_waiting()

    def _refuse(self, status: int) -> None:
        if not self._read_no_more:
            self._read_no_more = True
            request = HttpRequest("", self._target, self._headers, b"")
            self._waiting.append(_Exchange(request, error_page(status)))
            self._answer_waiting()

    def _answer_waiting(self) -> None:
        while self._waiting and not self._busy and not self._write_paused:
            exchange = self._waiting.popleft()
            answer = exchange.refusal or self._owner.handler(exchange.request)
            if isinstance(answer, HttpResponse):
                self._write(exchange, answer)
            else:
                self._busy = True
                self._owner.run(self._answer_later(exchange, answer))
        if not self._waiting:
            self._transport.resume_reading()

    async def _answer_later(self, exchange: _Exchange, answer: Awaitable[HttpResponse]) -> None:
        response = await answer
        self._busy = False
        if not self._transport.is_closing():
            self._write(exchange, response)
            self._answer_waiting()

    def _write(self, exchange: _Exchange, response: HttpResponse) -> None:
        self.last_used = time.monotonic()
        is_last = self._stopping and not self._waiting
        close = response.close or not exchange.keep_alive or is_last
        head = _head(
            exchange.version, response.status, response.content_type, response.headers, close
        )
        date = _date(int(time.time()))
        if exchange.request.method == "HEAD":
            self._transport.write(b"%sDate: %s\r\n\r\n" % (head, date))
        else:
            self._transport.write(
                b"%sDate: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (head, date, len(response.body), response.body)
            )
        if close:
            self._close()

    def _close(self) -> None:
        self._waiting.clear()
        if self._read_no_more and not self._stopping:
            # The client may still be sending: closed now, it would get a reset and not the answer.
            self._transport.write_eof()
        else:
            self._read_no_more = True
            self._transport.close()

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._answer_waiting()

    def is_idle(self) -> bool:
        """Whether no answer is under way; the client may be in the middle of a request."""
        return not self._busy and not self._waiting

    def stop(self) -> None:
        """Closes now, or after the answers under way."""
        self._stopping = True
        if self.is_idle():
            self._transport.close()

    def abort(self) -> None:
        """Closes at once, whatever is under way."""
        self._transport.abort()
