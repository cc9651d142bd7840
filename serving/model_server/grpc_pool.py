"""The threads of the gRPC server: a call takes one only once its message has been read.

gRPC's Python server hands a call to a thread as soon as its headers are there, and the thread then
waits for the message: as many silent calls as there are threads stop the server. Here the message
is read first, by the thread that polls the connections, which also saves each call a wait between
two threads. There is no public way to do so short of `grpc.aio`, which answers a fifth fewer calls
a second (measured with an empty call from one client). So this reaches into `grpc._server`; the
transport tests show at once if a new release of gRPC goes about it in another way.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from grpc import _server
from grpc._cython import cygrpc

_logger = logging.getLogger(__name__)

# Calls without a message past this many, and older than this, are cancelled: they cost memory only.
_MAX_SILENT_CALLS = 1000
_SILENT_SECONDS = 60.0

_STREAM_THREADS = 8
# Streams (reflection) past this many are refused; an idle one keeps its thread until it is ended.
_MAX_STREAMS = 64


class MessageFirstPool(ThreadPoolExecutor):
    """Runs unary calls whose message is there, `max_calls` of them waiting or running at most.

    Streams have threads of their own.
    """

    def __init__(self, max_workers: int, max_calls: int) -> None:
        super().__init__(max_workers, "grpc")
        self._calls = _Places(max_calls)
        self._streams = _Places(_MAX_STREAMS)
        self._silent: dict[Any, float] = {}
        self._stream_pool = ThreadPoolExecutor(_STREAM_THREADS, "grpc-stream")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Called by gRPC's server with the call's context to run a function of `_server` in."""
        function, event, state, behaviour, _, *codecs = args
        if function is not _server._unary_response_in_pool:
            return self._submit(self._stream_pool, self._streams, event, state, fn, *args)
        done: Future[Any] = Future()
        receive = _server._receive_message(state, event.call, codecs[0])
        answer = (function, event, state, behaviour, lambda: _taken(state), *codecs)

        def on_message(received: Any) -> Any:
            self._silent.pop(event, None)
            outcome = receive(received)
            if state.request is None:
                _refuse_without_message(event, state)
                done.set_result(None)
                return outcome
            pool = super(MessageFirstPool, self)
            work = self._submit(pool, self._calls, event, state, fn, *answer)
            work.add_done_callback(lambda _: done.set_result(None))
            return outcome

        with state.condition:
            if not _server._is_rpc_state_active(state):
                done.set_result(None)
                return done
            event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), on_message)
            state.due.add(_server._RECEIVE_MESSAGE_TOKEN)
        self._silent[event] = time.monotonic()
        self._cancel_silent()
        return done

    def _cancel_silent(self) -> None:
        """Called, as `on_message`, by the one thread that polls the connections."""
        horizon = time.monotonic() - _SILENT_SECONDS
        while len(self._silent) > _MAX_SILENT_CALLS:
            event, since = next(iter(self._silent.items()))
            if since > horizon:
                return
            del self._silent[event]
            event.call.cancel()

    def _submit(
        self, pool: Any, places: _Places, event: Any, state: Any, fn: Any, *args: Any
    ) -> Future[Any]:
        """Hands a call to a thread; refuses it if there are too many. Never raises."""
        done: Future[Any] = Future()
        done.set_result(None)
        if not places.take():
            _abort(event, state, cygrpc.StatusCode.resource_exhausted, b"Too many requests.")
            return done
        try:
            work: Future[Any] = pool.submit(fn, *args)
        except Exception:
            places.give_back()
            _logger.exception("a gRPC call found no thread")
            _abort(event, state, cygrpc.StatusCode.resource_exhausted, b"No thread is left.")
            return done
        work.add_done_callback(lambda _: places.give_back())
        return work


class _Places:
    """Counts what is under way, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken = 0
        self._lock = threading.Lock()

    def take(self) -> bool:
        with self._lock:
            if self._taken >= self._limit:
                return False
            self._taken += 1
            return True

    def give_back(self) -> None:
        with self._lock:
            self._taken -= 1


def _taken(state: Any) -> Any:
    """The message of a call; None if the client cancelled it meanwhile."""
    with state.condition:
        request, state.request = state.request, None
        return request if _server._is_rpc_state_active(state) else None


def _abort(event: Any, state: Any, code: Any, details: bytes) -> None:
    with state.condition:
        if _server._is_rpc_state_active(state):
            _server._abort(state, event.call, code, details)


def _refuse_without_message(event: Any, state: Any) -> None:
    if state.client is _server._CLOSED:
        details = b'"%s" requires exactly one request message.' % event.call_details.method
        _abort(event, state, cygrpc.StatusCode.unimplemented, details)
