"""TensorFlow Serving's REST API: predict, classify, regress, status, metadata and metrics.

Sources: tensorflow_serving/model_servers/http_server.cc and http_rest_api_handler.cc.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import zlib
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from serving.model_server import deadline, metrics
from serving.model_server.core import ServerCore
from serving.model_server.errors import Code, ServingError, invalid_argument
from serving.model_server.rest.http_messages import (
    JSON,
    HttpRequest,
    HttpResponse,
    error_page,
    status_of,
)
from serving.model_server.rest.http_server import HttpServer
from serving.model_server.rest.inference import RestInference
from serving.model_server.rest.json_response import error_json
from serving.model_server.rest.limits import (
    Budget,
    Claim,
    Limits,
    TooLargeError,
)
from serving.model_server.rest.routes import Kind, Route, route
from serving.model_server.servable import Servable

_logger = logging.getLogger(__name__)

_DEFAULT_CONTENT_TYPE = "text/html; charset=ISO-8859-1"
_CORS_HEADERS = (
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "POST, GET"),
    ("Access-Control-Allow-Headers", "Content-Type"),
)
_INFERENCE = frozenset({Kind.PREDICT, Kind.CLASSIFY, Kind.REGRESS})
MAX_UNCOMPRESSED_BYTES = 100 * 1024 * 1024
"""A gzipped body that is larger counts as empty, as does one that is damaged."""
_COMPRESSED_PIECE_BYTES = 1 << 16
_INFLATED_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class RestOptions:
    """How the REST API behaves.

    Requests that may take long run in `num_threads` threads and are answered with 504 after
    `timeout_ms` (never, if not positive). `monitoring_path` is None without monitoring. The `max_`
    values are those of `Limits`.
    """

    port: int
    num_threads: int
    timeout_ms: int = 30_000
    cors: bool = False
    monitoring_path: str | None = None
    host: str = ""
    max_connections: int = Limits.max_connections
    max_body_bytes: int = Limits.max_body_bytes
    max_memory_bytes: int = Limits.max_memory_bytes

    def limits(self) -> Limits:
        """What the HTTP server is to hold its clients to."""
        return Limits(
            self.max_connections,
            self.max_body_bytes,
            self.max_memory_bytes,
            self.timeout_ms / 1000 if self.timeout_ms > 0 else None,
        )


class RestServer:
    """The REST API of a core on a port, served by a thread of its own."""

    def __init__(self, core: ServerCore, options: RestOptions) -> None:
        self._options = options
        self._pool = ThreadPoolExecutor(options.num_threads, thread_name_prefix="rest")
        api = RestApi(core, options, self._pool)
        self._http = HttpServer(api.handle, options.limits(), api.budget)

    def start(self) -> int:
        """Starts serving and returns the port. Raises OSError if it cannot be bound."""
        return self._http.start(self._options.host, self._options.port)

    def stop(self, grace_seconds: float) -> None:
        """Stops accepting and lets requests in flight finish for up to `grace_seconds`."""
        self._http.stop(grace_seconds)
        self._pool.shutdown(wait=False, cancel_futures=True)


class RestApi:
    """Answers HTTP requests; `handle` is called on the event loop."""

    def __init__(self, core: ServerCore, options: RestOptions, pool: ThreadPoolExecutor) -> None:
        self._core = core
        self._options = options
        self._pool = pool
        self.budget = Budget(options.max_memory_bytes)
        self._inference = RestInference(core)
        self._metadata: WeakKeyDictionary[Servable, bytes] = WeakKeyDictionary()
        self._cors = _CORS_HEADERS if options.cors else ()
        self._timeout_seconds = options.limits().timeout_seconds

    def handle(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """The answer, or for what may take long the promise of one."""
        started = time.perf_counter()
        where = route(request.method, request.target)
        if where.kind is Kind.BAD_TARGET:
            return error_page(400)
        if where.path == self._options.monitoring_path:
            return self._prometheus_page(where)
        if where.kind is Kind.NOT_API:
            return error_page(404)
        if where.kind is Kind.PREFLIGHT:
            return self._preflight(request)
        if where.kind not in _INFERENCE:
            outcome = _outcome(lambda: self._read_only(where, request.method))
        elif b"content-encoding" in request.headers:
            outcome = None
        else:
            outcome = _outcome(
                lambda: self._inference.run_if_quick(where, request.body, request.is_alone)
            )
        if outcome is None:
            return self._answer_later(where, request, started)
        return self._response(where, outcome, started)

    async def _answer_later(
        self, where: Route, request: HttpRequest, started: float
    ) -> HttpResponse:
        now, moment, seconds = time.monotonic(), None, None
        if self._timeout_seconds:
            moment = (request.received or now) + self._timeout_seconds
            seconds = moment - now
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(
            self._pool, _outcome, lambda: self._infer(where, request, moment)
        )
        try:
            outcome = await asyncio.wait_for(work, seconds)
        except TimeoutError:
            outcome = _failure(deadline.exceeded())
        except asyncio.CancelledError:
            self._count(where, Code.CANCELLED, started)
            raise
        assert outcome is not None
        return self._response(where, outcome, started)

    def _infer(self, where: Route, request: HttpRequest, moment: float | None) -> bytes:
        """The answer's body, made in a thread, which may go on after `moment` has passed."""
        claim = request.claim or Claim(self.budget)
        with deadline.at(moment):
            deadline.check()
            return self._inference.run(where, _content(request, claim), claim)

    def _response(self, where: Route, outcome: _Outcome, started: float) -> HttpResponse:
        self._count(where, outcome.code, started)
        return HttpResponse(outcome.status, JSON, outcome.body, self._cors)

    def _count(self, where: Route, code: Code, started: float) -> None:
        micros = (time.perf_counter() - started) * 1e6
        self._core.metrics.record_request(where.model_name, where.verb, "REST", code, micros)

    def _read_only(self, where: Route, method: str) -> bytes:
        if where.kind is Kind.MALFORMED:
            raise invalid_argument(f"Malformed request: {method} {where.path_and_query}")
        if where.kind is Kind.BAD_VERSION:
            # TensorFlow Serving fails here before it would write an error text.
            raise ServingError(Code.INVALID_ARGUMENT, "")
        if not where.model_name:
            raise invalid_argument("Missing model name in request.")
        return self._status(where) if where.kind is Kind.STATUS else self._metadata_of(where)

    def _status(self, where: Route) -> bytes:
        versions = [
            {
                "version": str(status.version),
                "state": status.state.name,
                "status": {"error_code": status.code.name, "error_message": status.message},
            }
            for status in self._core.model_status(where.model_name, where.version)
        ]
        text = json.dumps({"model_version_status": versions}, indent=1, ensure_ascii=False)
        return f"{text}\n".encode("utf-8", "surrogateescape")

    def _metadata_of(self, where: Route) -> bytes:
        with self._core.servable(where.model_name, where.version, where.label) as servable:
            metadata = self._metadata.get(servable)
            if metadata is None:
                metadata = self._metadata[servable] = _metadata_json(servable)
            return metadata

    def _preflight(self, request: HttpRequest) -> HttpResponse:
        """What a browser asks before it sends a request from another site's page."""
        origin = request.headers.get(b"origin", b"")
        is_web_origin = b"http://" in origin or b"https://" in origin
        code = Code.OK if is_web_origin else Code.FAILED_PRECONDITION
        self._core.metrics.record_request("", "", "REST", code, 0)
        return HttpResponse(status_of(code), _DEFAULT_CONTENT_TYPE, b"", self._cors)

    def _prometheus_page(self, where: Route) -> HttpResponse:
        expected = self._options.monitoring_path
        if where.path_and_query != expected:
            text = f"Unexpected path: {where.path_and_query}. Should be {expected}"
            return HttpResponse(400, metrics.TEXT_CONTENT_TYPE, text.encode())
        page = self._core.metrics.text().encode("utf-8", "surrogateescape")
        return HttpResponse(200, metrics.TEXT_CONTENT_TYPE, page)


class _Outcome(NamedTuple):
    code: Code
    body: bytes
    status: int = 200


def _outcome(work: Callable[[], bytes | None]) -> _Outcome | None:
    """What came of `work`; None if it returned None."""
    try:
        body = work()
    except ServingError as error:
        return _failure(error)
    except Exception:
        _logger.exception("a REST request failed in an unforeseen way")
        return _failure(ServingError(Code.INTERNAL, "Internal error, see the server's log."))
    return None if body is None else _Outcome(Code.OK, body)


def _failure(error: ServingError) -> _Outcome:
    status = 413 if isinstance(error, TooLargeError) else status_of(error.code)
    return _Outcome(error.code, error_json(error.message) if error.message else b"", status)


def _content(request: HttpRequest, claim: Claim) -> bytes:
    """The request's body, uncompressed; empty if it cannot be, as in TensorFlow Serving.

    Raises ServingError if the budget has no room for it, or it takes too long.
    """
    if b"gzip" not in request.headers.get(b"content-encoding", b"") or not request.body:
        return request.body
    body = bytearray()
    try:
        for piece in _inflated(request.body):
            deadline.check()
            claim.take(2 * len(piece))  # it is copied once it is whole
            body += piece
            if len(body) > MAX_UNCOMPRESSED_BYTES:
                return b""
    except zlib.error:
        return b""
    return bytes(body)


def _inflated(compressed: bytes) -> Iterator[bytes]:
    """The pieces of a gzipped body; raises zlib.error if it is not one whole gzip member."""
    inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    view = memoryview(compressed)
    for start in range(0, len(view), _COMPRESSED_PIECE_BYTES):
        rest: Any = view[start : start + _COMPRESSED_PIECE_BYTES]
        if inflate.eof:
            raise zlib.error("there is more after the end")
        while True:
            piece = inflate.decompress(rest, _INFLATED_PIECE_BYTES)
            yield piece
            rest = inflate.unconsumed_tail
            # A full piece may leave more of it inside the decompressor.
            if not rest and len(piece) < _INFLATED_PIECE_BYTES:
                break
    if not inflate.eof or inflate.unused_data:
        raise zlib.error("cut off, or there is more after the end")


def _metadata_json(servable: Servable) -> bytes:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    text = json_format.MessageToJson(
        signatures,
        indent=1,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
        ensure_ascii=False,
    )
    model_spec = json.dumps(
        {"name": servable.name, "version": str(servable.version), "signature_name": ""},
        indent=1,
        ensure_ascii=False,
    )
    return (
        f'{{\n"model_spec":{model_spec}\n,\n"metadata": {{"signature_def": {text}\n}}\n}}\n'
    ).encode()
