"""One HTTP/1.1 connection: bytes to requests, answers to bytes, in the order the requests came.

What a connection holds is bounded: it reads on only while few requests wait, a body is taken from
the budget of the process as it grows, and a client that is slow to send or to read is left.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from typing import Protocol, cast

from serving.model_server.errors import Code, ServingError
from serving.model_server.rest.http_messages import (
    Handler,
    HttpRequest,
    HttpResponse,
    refusal,
    serialize,
)
from serving.model_server.rest.http_reader import Exchange, RequestReader
from serving.model_server.rest.limits import Budget, Claim, Limits, out_of_memory

_logger = logging.getLogger(__name__)

IDLE_SECONDS = 50.0
"""A connection that neither sends nor is answered for so long is closed; evhttp's default."""

_MAX_WAITING_REQUESTS = 16
# An answer up to this size comes without a claim.
_UNCLAIMED_BYTES = 1 << 16
# What is parsed before the answers are looked at again. It bounds how many requests come out.
_HEAD_PIECE_BYTES = 1 << 12
_BODY_PIECE_BYTES = 1 << 16

# An answer may be read as slowly as this, after a time in which nothing need be read.
_LEAST_BYTES_A_SECOND = 1 << 14
_PATIENCE_WITHOUT_TIMEOUT_SECONDS = 30.0
# How long a client that was refused may go on sending: closed at once, it would get a reset.
_LINGER_SECONDS = 2.0

_UNREAD_NOTHING = memoryview(b"")


class ConnectionOwner(Protocol):
    """What a connection asks of its server."""

    handler: Handler
    limits: Limits
    budget: Budget

    def opened(self, connection: Connection) -> HttpResponse | None:
        """Takes note of a new connection; returns what to refuse it with, if it is one too many."""

    def closed(self, connection: Connection) -> None: ...

    def asks_alone(self, connection: Connection) -> bool:
        """Takes note of a request; returns whether no other connection has asked lately."""

    def refused(self, status: int) -> None:
        """Takes note of a request that the handler did not get to see."""

    def run(self, answer: Awaitable[HttpResponse]) -> asyncio.Future[HttpResponse]: ...


@dataclass(slots=True)
class _Unsent:
    """An answer that the client has yet to read: how much of it there was, and since when."""

    size: int
    since: float


class Connection(asyncio.Protocol):
    """One connection of a server."""

    def __init__(self, owner: ConnectionOwner) -> None:
        self.last_used = time.monotonic()
        self._owner = owner
        self._unread = _UNREAD_NOTHING
        self._reading_paused = False
        self._answering: asyncio.Future[HttpResponse] | None = None
        self._unsent: _Unsent | None = None
        self._answer_claim: Claim | None = None
        self._unread_claim: Claim | None = None
        self._stopping = False
        self._lingering_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)
        owner = self._owner
        self._reader = RequestReader(owner.limits, owner.budget, self._transport.write)
        too_many = owner.opened(self)
        if too_many and not self._transport.is_closing():
            self._reader.refuse(too_many)
            self._proceed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._reader.end()
        self._unread = _UNREAD_NOTHING
        self._unread_claim = self._answer_claim = None
        if self._answering:
            self._answering.cancel()
        self._owner.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._reader.ended:
            return
        self.last_used = time.monotonic()
        if len(data) <= _HEAD_PIECE_BYTES and not self._unread:
            self._reader.feed(data)
        else:
            self._unread = memoryview(bytes(self._unread) + data if self._unread else data)
        self._proceed()

    def eof_received(self) -> bool:
        """A client that has sent its last byte still gets the answers under way."""
        self._stopping = True
        return self._has_answers_due()

    def pause_writing(self) -> None:
        self._unsent = _Unsent(self._transport.get_write_buffer_size(), time.monotonic())

    def resume_writing(self) -> None:
        self._unsent = None
        self._answer_claim = None
        self._proceed()

    def is_idle(self) -> bool:
        """Whether no answer is under way; the client may be in the middle of a request."""
        return not self._has_answers_due() and not self._unsent

    def waits_since(self) -> float:
        """Of an idle connection, when its client was last answered or began the next request."""
        return self._reader.received or self.last_used

    def stop(self) -> None:
        """Closes now, or after the answers under way."""
        self._stopping = True
        if not self._has_answers_due():
            self._transport.close()

    def abort(self) -> None:
        """Closes at once, whatever is under way."""
        self._transport.abort()

    def enforce_times(self, now: float) -> None:
        """Leaves the client if it is slower to send or to read than the limits allow."""
        timeout, received = self._owner.limits.timeout_seconds, self._reader.received
        if self._lingering_since is not None:
            if now > self._lingering_since + _LINGER_SECONDS and not self._unsent:
                self.abort()
        elif received is not None and timeout and now > received + timeout:
            text = f"The request was not sent within {timeout:g} seconds"
            self._reader.refuse(refusal(ServingError(Code.DEADLINE_EXCEEDED, text), 408))
            self._proceed()
        elif self.is_idle() and now > self.last_used + IDLE_SECONDS:
            self.abort()
        if self._unsent:
            sent = self._unsent.size - self._transport.get_write_buffer_size()
            patience = timeout or _PATIENCE_WITHOUT_TIMEOUT_SECONDS
            granted = patience + sent / _LEAST_BYTES_A_SECOND
            if now > self._unsent.since + granted:
                self.abort()

    def _has_answers_due(self) -> bool:
        return bool(self._answering or self._reader.exchanges)

    def _proceed(self) -> None:
        """Answers and reads on by turns, until one has to wait for the other or the client."""
        if self._transport.is_closing():
            return
        reader = self._reader
        self._answer_waiting()
        if not (self._unread or self._reading_paused or reader.exchanges):
            return
        while self._unread and not reader.ended and not self._must_wait():
            size = _BODY_PIECE_BYTES if reader.is_in_body else _HEAD_PIECE_BYTES
            piece, self._unread = self._unread[:size], self._unread[size:]
            reader.feed(piece)
            self._answer_waiting()
        self._claim_unread()
        must_pause = not reader.ended and (bool(self._unread) or self._must_wait())
        if must_pause != self._reading_paused:
            self._reading_paused = must_pause
            if must_pause:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _claim_unread(self) -> None:
        """Takes from the budget what was received and has to wait before it is parsed."""
        if not self._unread or self._reader.ended:
            self._unread, self._unread_claim = _UNREAD_NOTHING, None
            return
        budget = self._owner.budget
        self._unread_claim = self._unread_claim or Claim(budget)
        if not self._unread_claim.reach(self._unread.obj.__sizeof__()):
            self._reader.refuse(refusal(out_of_memory(0, budget.limit)))
            self._unread = _UNREAD_NOTHING

    def _must_wait(self) -> bool:
        return len(self._reader.exchanges) >= _MAX_WAITING_REQUESTS

    def _answer_waiting(self) -> None:
        waiting = self._reader.exchanges
        while waiting and not self._answering and not self._unsent:
            exchange = waiting.popleft()
            if exchange.refusal:
                self._owner.refused(exchange.refusal.status)
            answer = exchange.refusal or self._handled(exchange.request)
            if isinstance(answer, HttpResponse):
                self._write(exchange, answer)
            else:
                self._answering = self._owner.run(answer)
                self._answering.add_done_callback(partial(self._answered, exchange))

    def _handled(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        request.is_alone = self._owner.asks_alone(self)
        try:
            return self._owner.handler(request)
        except Exception as error:
            return _unforeseen(error)

    def _answered(self, exchange: Exchange, answer: asyncio.Future[HttpResponse]) -> None:
        self._answering = None
        if answer.cancelled() or self._transport.is_closing():
            return
        error = answer.exception()
        self._write(exchange, _unforeseen(error) if error else answer.result())
        self._proceed()

    def _write(self, exchange: Exchange, response: HttpResponse) -> None:
        self.last_used = time.monotonic()
        if len(response.body) > _UNCLAIMED_BYTES:
            response = self._claimed(response)
        is_last = self._stopping and not self._reader.exchanges and not self._unread
        close = response.close or not exchange.keep_alive or is_last
        self._transport.write(
            serialize(response, exchange.version, close, exchange.request.method != "HEAD")
        )
        if not self._unsent:
            self._answer_claim = None
        if close:
            self._close()

    def _claimed(self, response: HttpResponse) -> HttpResponse:
        """The answer if the budget has its size left until it is sent; else a refusal."""
        budget = self._owner.budget
        self._answer_claim = Claim(budget)
        if self._answer_claim.reach(len(response.body)):
            return response
        self._owner.refused(503)
        return refusal(out_of_memory(0, budget.limit))

    def _close(self) -> None:
        was_refused = self._reader.ended
        self._reader.end()
        if was_refused and not self._stopping:
            # The client may still be sending: closed now, it would get a reset and not the answer.
            self._lingering_since = time.monotonic()
            self._transport.write_eof()
        else:
            self._transport.close()


def _unforeseen(error: BaseException) -> HttpResponse:
    """The answer to a request that failed as none should."""
    _logger.error("a REST request failed in an unforeseen way", exc_info=error)
    return refusal(ServingError(Code.INTERNAL, "Internal error, see the server's log."))
