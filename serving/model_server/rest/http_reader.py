"""Bytes of a connection to HTTP requests.

What is read is bounded: the size of a head, and of a body, which is taken from the budget of the
process as it grows. Where a client can see the server below the API, it is refused as by evhttp.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

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
# Of a Content-Length; more are larger than any limit, too.
_MOST_DIGITS = 20
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


class RequestReader:
    """Reads one connection; the methods `on_...` are called by httptools.

    What was read waits in `exchanges`. After a refusal, which is the last of them, `ended` is set
    and nothing more is read. `is_in_body` says that the head of a request has come.
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
        self._head_bytes = 0
        self._forget()

    def _forget(self) -> None:
        """Begins a new request."""
        self._request = HttpRequest("", b"", {}, b"")
        self._body: bytes | bytearray = b""
        self._header_count = 0
        self._size = 0
        self.is_in_body = False

    @property
    def received(self) -> float | None:
        """When the first byte came of a request that has not come whole; else None."""
        return self._request.received

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
        elif self._size > _UNCLAIMED_BYTES:
            self._claim(_CLAIMED_AHEAD_BYTES)

    def refuse(self, response: HttpResponse) -> None:
        """Answers what was not read to its end, after the requests before it, and ends there."""
        if not self.ended:
            self.ended = True
            self._forget()
            self.exchanges.append(Exchange(HttpRequest("", b"", {}, b""), response))

    def end(self) -> None:
        """Forgets all that was read, and reads no more."""
        self.ended = True
        self._forget()
        self.exchanges.clear()

    def on_message_begin(self) -> None:
        self._request.received = time.monotonic()

    def on_url(self, url: bytes) -> None:
        self._request.target += url
        self._size += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.ended:
            return
        self._request.headers.setdefault(name.lower(), value)
        self._header_count += 1
        self._size += len(name) + len(value) + _HEADER_BYTES
        if self._header_count > _MAX_HEADERS:
            self.refuse(error_page(400))

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        if self.ended or self._parser.should_upgrade():
            return
        self.is_in_body = True
        error = self._refusal_of_length()
        expectation = self._request.headers.get(b"expect", b"").lower()
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
        self._size += len(body)
        if not self._body:
            self._body = body  # A body of one piece stays as it is.
        elif isinstance(self._body, bytearray):
            self._body += body
        else:
            self._body = bytearray(self._body) + body
        if len(self._body) > self._limits.max_body_bytes:
            self.refuse(refusal(body_too_large(self._limits.max_body_bytes)))

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        if self.ended or self._parser.should_upgrade():
            return
        if self._size > _UNCLAIMED_BYTES and not self._claim(0):
            return
        request = self._request
        request.method = self._parser.get_method().decode()
        request.body = bytes(self._body)
        page = None
        if request.method not in _METHODS:
            page = error_page(501 if request.method in _REFUSED_METHODS else 400)
        version, keep_alive = self._parser.get_http_version(), self._parser.should_keep_alive()
        self.exchanges.append(Exchange(request, page, version, keep_alive))
        self._forget()

    def _refusal_of_length(self) -> ServingError | None:
        """What forbids a body of the length that was announced."""
        length = self._request.headers.get(b"content-length", b"")
        # int() refuses thousands of digits, zeros that lead included.
        size = int(length.lstrip(b"0")[:_MOST_DIGITS] or b"0") if length.isdigit() else 0
        if size > self._limits.max_body_bytes:
            return body_too_large(self._limits.max_body_bytes)
        if size > _UNCLAIMED_BYTES and self._budget.held + size > self._budget.limit:
            return out_of_memory(size, self._budget.limit)
        return None

    def _claim(self, ahead: int) -> bool:
        """Takes what is read, and some `ahead`, from the budget; else refuses the request."""
        claim = self._request.claim = self._request.claim or Claim(self._budget)
        size = self._size + ahead
        is_claimed = claim.reach(size)
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
        target, headers = self._request.target, self._request.headers
        lines = [b"%s %s HTTP/%s" % (method, target, version), b"Connection: close"]
        lines += [b"%s: %s" % item for item in headers.items() if item[0] not in _UPGRADE_HEADERS]
        self._forget()
        self._parser = httptools.HttpRequestParser(self)
        self.feed(b"\r\n".join([*lines, b"", b""]))
        if not self.ended:
            self.feed(rest)
