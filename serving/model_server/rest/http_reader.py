"""Bytes of a connection to HTTP requests.

What is read is bounded: the size of a head, and of a body, which is taken from the budget of the
process as it grows. Where a client can see the server below the API, it is refused as by evhttp.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import httptools

from serving.model_server.errors import ServingError
from serving.model_server.rest.http_messages import HttpRequest, HttpResponse, error_page, refusal
from serving.model_server.rest.limits import (
    Budget,
    Claim,
    Limits,
    body_too_large,
    out_of_memory,
)

_logger = logging.getLogger(__name__)

_MAX_HEAD_BYTES = 1 << 16
_MAX_HEADERS = 256
# What a header takes besides its text.
_HEADER_BYTES = 128
# A request up to this size comes without a claim: taking one costs more than it bounds.
_UNCLAIMED_BYTES = 1 << 12
# How far a claim is ahead of a request that grows.
_CLAIMED_AHEAD_BYTES = 1 << 16

_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})
_REFUSED_METHODS = frozenset({"TRACE", "CONNECT"})
_UPGRADE_HEADERS = frozenset({b"upgrade", b"connection", b"http2-settings"})


@dataclass(slots=True)
class Exchange:
    """A request that was read whole; `refusal` is its answer if the handler is not to see it."""

    request: HttpRequest
    refusal: HttpResponse | None
    version: str = "1.1"
    keep_alive: bool = False


@dataclass(slots=True)
class _Incoming:
    """The request that is being read; `received` is None before its first byte."""

    received: float | None = None
    target: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    head_size: int = 0
    header_count: int = 0
    has_head: bool = False
    body: bytes | bytearray = b""
    claim: Claim | None = None

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return self.head_size + len(self.body)

    def add_header(self, name: bytes, value: bytes) -> None:
        self.headers.setdefault(name.lower(), value)
        self.header_count += 1
        self.head_size += len(name) + len(value) + _HEADER_BYTES

    def add_to_body(self, piece: bytes) -> None:
        """A body of one piece stays as it is; many small ones cost no more than their bytes."""
        if not self.body:
            self.body = piece
        elif isinstance(self.body, bytearray):
            self.body += piece
        else:
            self.body = bytearray(self.body) + piece


class RequestReader:
    """Reads one connection; the methods `on_...` are called by httptools.

    What was read waits in `exchanges`. After a refusal, which is the last of them, `ended` is set
    and nothing more is read.
    """

    def __init__(
        self, limits: Limits, budget: Budget, write: Callable[[bytes], None] | None = None
    ) -> None:
        """`write` sends what a client waits for before it sends its body."""
        self.exchanges: deque[Exchange] = deque()
        self.ended = False
        self._limits = limits
        self._budget = budget
        self._write = write
        self._parser = httptools.HttpRequestParser(self)
        self._incoming = _Incoming()
        self._head_bytes = 0

    @property
    def received(self) -> float | None:
        """When the first byte came of a request that has not come whole; else None."""
        return self._incoming.received

    @property
    def is_in_body(self) -> bool:
        return self._incoming.has_head

    def feed(self, piece: bytes | memoryview) -> None:
        """Reads on. Whatever the bytes are, it never raises."""
        self._head_bytes += len(piece)
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._read_without_upgrade(piece[upgrade.args[0] :])
        except httptools.HttpParserCallbackError:
            _logger.exception("a connection failed in an unforeseen way")
            self.refuse(error_page(500))
        except httptools.HttpParserError:
            self.refuse(error_page(400))
        if self._head_bytes > _MAX_HEAD_BYTES:
            self.refuse(error_page(400))
        elif self._incoming.size > _UNCLAIMED_BYTES:
            self._claim(_CLAIMED_AHEAD_BYTES)

    def refuse(self, response: HttpResponse) -> None:
        """Answers what was not read to its end, after the requests before it, and ends there."""
        if not self.ended:
            self.ended = True
            self._incoming = _Incoming()
            self.exchanges.append(Exchange(HttpRequest("", b"", {}, b""), response))

    def end(self) -> None:
        """Forgets all that was read, and reads no more."""
        self.ended = True
        self._incoming = _Incoming()
        self.exchanges.clear()

    def on_message_begin(self) -> None:
        self._incoming.received = time.monotonic()

    def on_url(self, url: bytes) -> None:
        self._incoming.target += url
        self._incoming.head_size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.ended:
            self._incoming.add_header(name, value)
            if self._incoming.header_count > _MAX_HEADERS:
                self.refuse(error_page(400))

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        if self.ended or self._parser.should_upgrade():
            return
        self._incoming.has_head = True
        error = self._refusal_of_length()
        expectation = self._incoming.headers.get(b"expect", b"").lower()
        if error:
            self.refuse(refusal(error))
        elif expectation == b"100-continue":
            if self._write:
                self._write(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif expectation:
            self.refuse(error_page(417))

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        if self.ended:
            return
        self._incoming.add_to_body(body)
        if len(self._incoming.body) > self._limits.max_body_bytes:
            self.refuse(refusal(body_too_large(self._limits.max_body_bytes)))

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        if self.ended or self._parser.should_upgrade():
            return
        if self._incoming.size > _UNCLAIMED_BYTES and not self._claim(0):
            return
        read, self._incoming = self._incoming, _Incoming()
        method = self._parser.get_method().decode()
        page = None
        if method not in _METHODS:
            page = error_page(501 if method in _REFUSED_METHODS else 400)
        request = HttpRequest(
            method, read.target, read.headers, bytes(read.body), read.received, read.claim
        )
        version, keep_alive = self._parser.get_http_version(), self._parser.should_keep_alive()
        self.exchanges.append(Exchange(request, page, version, keep_alive))

    def _refusal_of_length(self) -> ServingError | None:
        """What forbids a body of the length that was announced."""
        length = self._incoming.headers.get(b"content-length", b"")
        size = int(length) if length.isdigit() else 0
        if size > self._limits.max_body_bytes:
            return body_too_large(self._limits.max_body_bytes)
        if size > _UNCLAIMED_BYTES and self._budget.held + size > self._budget.limit:
            return out_of_memory(size, self._budget.limit)
        return None

    def _claim(self, ahead: int) -> bool:
        """Takes what is read, and some `ahead`, from the budget; else refuses the request."""
        if self._incoming.claim is None:
            self._incoming.claim = Claim(self._budget)
        size = self._incoming.size + ahead
        is_claimed = self._incoming.claim.reach(size)
        if not is_claimed:
            self.refuse(refusal(out_of_memory(size, self._budget.limit)))
        return is_claimed

    def _read_without_upgrade(self, rest: bytes | memoryview) -> None:
        """Reads a request again that offers an upgrade, as HTTP/2 clients do, without the offer.

        httptools takes what follows such a head for the other protocol.
        """
        method = self._parser.get_method()
        if method == b"CONNECT":
            self.refuse(error_page(501))
            return
        version = self._parser.get_http_version().encode()
        target, headers = self._incoming.target, self._incoming.headers
        lines = [b"%s %s HTTP/%s" % (method, target, version), b"Connection: close"]
        lines += [b"%s: %s" % item for item in headers.items() if item[0] not in _UPGRADE_HEADERS]
        self._incoming = _Incoming()
        self._parser = httptools.HttpRequestParser(self)
        self.feed(b"\r\n".join([*lines, b"", b""]))
        if not self.ended:
            self.feed(rest)
