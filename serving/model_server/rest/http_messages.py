"""HTTP requests as they were read, and answers as they are written.

Where a client can see the server below the API (pages for errors, headers), it answers as evhttp of
libevent, which TensorFlow Serving uses.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import TypeAlias

from serving.model_server.errors import Code, ServingError
from serving.model_server.rest.json_response import error_json
from serving.model_server.rest.limits import Claim, TooLargeError

JSON = "application/json"

_STATUS_OF_CODE = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
"""Source: tensorflow_serving/model_servers/http_server.cc. All other codes are 500."""


@dataclass(slots=True)
class HttpRequest:
    """One request; header names are lower case, of a repeated header the first counts.

    `received` is when its first byte came (time.monotonic; None: now), `claim` what it holds of the
    budget, `is_alone` whether no other client has asked lately.
    """

    method: str
    target: bytes
    headers: dict[bytes, bytes]
    body: bytes
    received: float | None = None
    claim: Claim | None = None
    is_alone: bool = False


@dataclass(slots=True)
class HttpResponse:
    """One answer; `close` ends the connection after it."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False


Handler: TypeAlias = Callable[[HttpRequest], HttpResponse | Awaitable[HttpResponse]]
"""Answers a request at once, or later without keeping the event loop."""


def status_of(code: Code) -> int:
    """The HTTP status that stands for a canonical code."""
    return _STATUS_OF_CODE.get(code, 500)


def error_page(status: int) -> HttpResponse:
    """The page that evhttp sends for what never reaches the API; it closes the connection."""
    reason = _reason(status)
    page = (
        f"<HTML><HEAD>\n<TITLE>{status} {reason}</TITLE>\n</HEAD><BODY>\n"
        f"<H1>{reason}</H1>\n</BODY></HTML>\n"
    )
    return HttpResponse(status, "text/html", page.encode(), close=True)


def refusal(error: ServingError, status: int | None = None) -> HttpResponse:
    """The answer to what the limits forbid, in TensorFlow Serving's form; it closes."""
    if status is None:
        status = 413 if isinstance(error, TooLargeError) else status_of(error.code)
    return HttpResponse(status, JSON, error_json(error.message), close=True)


def serialize(response: HttpResponse, version: str, close: bool, with_body: bool) -> bytes:
    """The bytes of an answer to a request of HTTP `version`."""
    second = int(time.time())
    kind, extra = response.content_type, response.headers
    head = _head(version, response.status, kind, extra, close, second)
    if not with_body:
        return head + b"\r\n"
    return b"%sContent-Length: %d\r\n\r\n%s" % (head, len(response.body), response.body)


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
    second: int,
) -> bytes:
    lines = [f"HTTP/{version} {status} {_reason(status)}", f"Content-Type: {content_type}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if close:
        lines.append("Connection: close")
    elif version == "1.0":
        lines.append("Connection: keep-alive")
    lines.append(f"Date: {formatdate(second, usegmt=True)}")
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")
