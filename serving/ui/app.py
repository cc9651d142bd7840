"""The page and what it asks: one model of a running model server, over REST."""

from __future__ import annotations

import asyncio
import base64
import logging
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.client.errors import ClientError, NotFoundError, UnavailableError
from serving.client.interface import ModelClient, Prepare, PreparedPicture
from serving.client.rest_client import RestClient
from serving.client.retry import Retries

logger = logging.getLogger(__name__)

# A picture of 50 megapixels takes 200 MB while it is decoded.
_DECODING = threading.BoundedSemaphore(2)

_PAGE = Path(__file__).with_name("page.html")
_MAX_BYTES = 64 << 20
# Pictures that are received or asked about at a time; more wait unread. It bounds the memory.
_MAX_PICTURES = 4
# In which a picture is sent, so that no slow client keeps the others waiting for long.
_BODY_SECONDS = 30.0
_PNG = b"\x89PNG"
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1", "[::1]")
_HEADERS: Mapping[str, str] = {
    # The page is whole in itself; nothing it shows may load anything else.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class _Refused(Exception):
    """An answer with another status than 200; the text is for the person at the page."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def ui_app(
    rest_url: str, model_name: str, prepare: Prepare, *, host: str | None = "127.0.0.1"
) -> Starlette:
    """Makes the application.

    Args:
        rest_url: of the model server.
        model_name: the model that is asked.
        prepare: makes a file's bytes into what the model is shown.
        host: a loopback address that it listens on: only what was addressed to that or to another
            local name is answered, so that no other web site can have the browser talk to it under
            a name of its own. None: it listens elsewhere, and answers to all names.
    """
    allowed = ["*"] if host is None else [*_LOCAL_HOSTS, host]
    # A person waits: a server that is not there is told at once.
    client = RestClient(rest_url, model_name, timeout=20.0, retries=Retries(attempts=2))
    places = asyncio.Semaphore(_MAX_PICTURES)

    async def page(_request: Request) -> Response:
        return Response(_PAGE.read_text(), media_type="text/html", headers=_HEADERS)

    async def model(_request: Request) -> Response:
        return await _answered(partial(_status, client, model_name))

    async def classify(request: Request) -> Response:
        async with places:
            try:
                content = await _body(request)
            except _Refused as refused:
                return _refusal(refused)
            return await _answered(partial(_classify, client, model_name, prepare, content))

    return Starlette(
        routes=[
            Route("/", page),
            Route("/api/model", model),
            Route("/api/classify", classify, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=allowed)],
    )


async def _body(request: Request) -> bytes:
    if _length(request.headers) > _MAX_BYTES:
        raise _Refused(413, f"the file is larger than {_MAX_BYTES >> 20} MB")
    content = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise _Refused(413, f"the file is larger than {_MAX_BYTES >> 20} MB")
    except TimeoutError:
        raise _Refused(408, f"the file was not sent within {_BODY_SECONDS:g} seconds") from None
    except ClientDisconnect:
        raise _Refused(400, "the file was not sent to its end") from None  # nobody reads it
    if not content:
        raise _Refused(400, "no picture was sent")
    return bytes(content)


def _length(headers: Headers) -> int:
    value = headers.get("content-length", "0")
    # int() refuses thousands of digits, zeros that lead included; 20 are too many bytes anyway.
    return int(value.lstrip("0")[:20] or "0") if value.isdecimal() else 0


async def _answered(work: partial[dict[str, object]]) -> Response:
    try:
        return JSONResponse(await run_in_threadpool(work), headers=_HEADERS)
    except _Refused as refused:
        return _refusal(refused)
    except UnavailableError:
        return _refusal(_Refused(503, "The model server does not answer."))
    except NotFoundError:
        return _refusal(_Refused(503, "The model server has no version of this model."))
    except ClientError as error:
        logger.warning("the model server refused a picture: %s", error)
        return _refusal(_Refused(502, f"The model server refused: {error.message}"))


def _refusal(refused: _Refused) -> Response:
    return JSONResponse({"error": str(refused)}, refused.status, headers=_HEADERS)


def _status(client: ModelClient, model_name: str) -> dict[str, object]:
    return {"model": model_name, "version": _newest(client)}


def _newest(client: ModelClient) -> int | None:
    available = (item.version for item in client.status() if item.is_available)
    return max(available, default=None)


def _classify(
    client: ModelClient, model_name: str, prepare: Prepare, content: bytes
) -> dict[str, object]:
    """Returns labels with scores, best first, and the picture that the model was shown."""
    with _DECODING:
        photo = _prepared(prepare, content)
    # Named, so that the version on the page is the one that answered.
    version = _newest(client)
    (scores,) = client.classify([{"image": photo.encoded}], "classify", version)
    return {
        "model": model_name,
        "version": version,
        "scores": [{"label": name, "score": score} for name, score in scores],
        "seen": _data_url(photo.encoded),
        "plain_background": photo.plain_background,
        "note": photo.note,
    }


def _prepared(prepare: Prepare, content: bytes) -> PreparedPicture:
    try:
        return prepare(content)
    except ValueError as error:
        raise _Refused(415, f"This file cannot be read: {error}.") from error


def _data_url(encoded: bytes) -> str:
    kind = "png" if encoded.startswith(_PNG) else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(encoded).decode()}"
