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
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from grpc import _server
from grpc._cython import cygrpc

_logger = logging.getLogger(__name__)

# Calls without a message past this many, and older than this, are cancelled: they cost memory only.
_MAX_SILENT_CALLS = 1000
_SILENT_SECONDS = 60.0

_NO_ANSWER = b"The call could not be answered."
_NO_MESSAGE = b'"%s" requires exactly one request message.'

_STREAM_THREADS = 8
# Streams (reflection) past this many are refused; an idle one keeps its thread until it is ended.
_MAX_STREAMS = 64


class MessageFirstPool(ThreadPoolExecutor):
    """Runs calls of one message once that is there, `max_calls` waiting or running at most.

    Streams that keep a thread have threads of their own; health's Watch, which keeps none, comes
    with the calls, so that no stream keeps out who asks for the health.
    """

    def __init__(self, max_workers: int, max_calls: int) -> None:
        super().__init__(max_workers, "grpc")
        self._calls = _Places(max_calls)
        self._streams = _Places(_MAX_STREAMS)
        self._silent: dict[_Call, float] = {}
        self._stream_pool = ThreadPoolExecutor(_STREAM_THREADS, "grpc-stream")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Called by gRPC's server with the call's context to run a function of `_server` in.

        Returns what gRPC needs of a Future: `add_done_callback`.
        """
        function, event, state, behaviour, _, *codecs = args
        is_stream = function is not _server._unary_response_in_pool
        call = _Call(event, state, is_stream)
        if is_stream and not getattr(behaviour, "experimental_non_blocking", False):
            self._hand_over(call, self._stream_pool.submit, self._streams, fn, *args)
            return call
        unary_submit = super().submit
        receive = _server._receive_message(state, event.call, codecs[0])
        answer = (function, event, state, behaviour, call.taken_message, *codecs)

        def on_message(received: Any) -> Any:
            self._silent.pop(call, None)
            outcome = receive(received)
            if state.request is None:
                call.end(cygrpc.StatusCode.unimplemented, _NO_MESSAGE % event.call_details.method)
            else:
                self._hand_over(call, unary_submit, self._calls, fn, *answer)
            return outcome

        with state.condition:
            if not _server._is_rpc_state_active(state):
                call.end()
                return call
            event.call.start_server_batch((cygrpc.ReceiveMessageOperation(0),), on_message)
            state.due.add(_server._RECEIVE_MESSAGE_TOKEN)
        self._silent[call] = time.monotonic()
        self._cancel_silent()
        return call

    def _hand_over(
        self, call: _Call, submit: Callable[..., Any], places: _Places, fn: Any, *args: Any
    ) -> None:
        """Gives a call to a thread; refuses it if there are too many. Never raises."""
        if not places.take():
            call.end(cygrpc.StatusCode.resource_exhausted, b"Too many requests.")
            return
        try:
            submit(_run, call, places, fn, *args)
        except Exception:
            places.give_back()
            _logger.exception("a gRPC call found no thread")
            call.end(cygrpc.StatusCode.resource_exhausted, b"No thread is left.")

    def _cancel_silent(self) -> None:
        """Called, as `on_message`, by the one thread that polls the connections."""
        horizon = time.monotonic() - _SILENT_SECONDS
        while len(self._silent) > _MAX_SILENT_CALLS:
            call, since = next(iter(self._silent.items()))
            if since > horizon:
                return
            del self._silent[call]
            call.cancel()


class _Call:
    """One call of gRPC's server, from its headers to its end."""

    __slots__ = ("_ended", "_event", "_is_stream", "_on_end", "_state")

    def __init__(self, event: Any, state: Any, is_stream: bool) -> None:
        self._event = event
        self._is_stream = is_stream
        self._state = state
        self._ended = False
        self._on_end: Callable[[Any], None] | None = None

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Called once, by the thread that called `submit`, before that reads a message."""
        if self._ended:
            callback(self)
        else:
            self._on_end = callback

    def taken_message(self) -> Any:
        """The message; None if the client cancelled the call meanwhile."""
        state = self._state
        with state.condition:
            request, state.request = state.request, None
            return request if _server._is_rpc_state_active(state) else None

    def cancel(self) -> None:
        self._event.call.cancel()

    def end(self, code: Any = None, details: bytes = _NO_ANSWER) -> None:
        """Gives the thread's place back. Without an answer, the call ends with `code`.

        A unary call whose function has come back is always ended, so that no client hangs; a stream
        may go on without a thread (health's Watch).
        """
        state = self._state
        if code is None and not self._is_stream:
            code = cygrpc.StatusCode.internal
        with state.condition:
            if code is not None and _server._is_rpc_state_active(state):
                _server._abort(state, self._event.call, code, details)
        self._ended = True
        if self._on_end:
            self._on_end(self)


def _run(call: _Call, places: _Places, fn: Callable[..., Any], *args: Any) -> None:
    try:
        fn(*args)
    finally:
        places.give_back()
        call.end()


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
