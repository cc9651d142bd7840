"""Copies of requests that nginx hands over: how they come in, and wait to be recorded."""

import asyncio
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import cast

logger = logging.getLogger("recorder")

_MAX_WAITING_BYTES = 64_000_000
_MAX_WAITING = 500
# Asked together, a picture costs the model server a tenth of what it costs alone.
TOGETHER = 32
_TOGETHER_BYTES = 1_000_000


@dataclass(frozen=True)
class Copy:
    """A request as it came in.

    Attributes:
        verb: `predict`, `classify` or `regress`.
        body: JSON.
        variant: that answered the client.
        request_id: as the access log has it.
        time: in seconds since 1970.
    """

    verb: str
    body: bytes
    variant: str
    request_id: str
    time: float


@dataclass
class Recorded:
    """What became of some copies.

    Attributes:
        written: how many were recorded; others are none of our kind, or came while it paused.
        errors: what went wrong, one for each copy that is lost by it.
    """

    written: int = 0
    errors: list[Exception] = field(default_factory=list)


class Backlog:
    """Copies that wait to be written; few, since they are samples. Thread-safe."""

    def __init__(self) -> None:
        self._copies: deque[Copy] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self.dropped = 0

    def add(self, copy: Copy) -> None:
        """Puts a copy aside, or drops it when too many wait."""
        with self._changed:
            size = len(copy.body)
            if len(self._copies) >= _MAX_WAITING or self._bytes + size > _MAX_WAITING_BYTES:
                self.dropped += 1
                return
            self._copies.append(copy)
            self._bytes += size
            self._changed.notify()

    def take(self, timeout: float) -> list[Copy]:
        """Returns those that have waited longest, a few; none when none came in time."""
        taken: list[Copy] = []
        with self._changed:
            self._changed.wait_for(lambda: bool(self._copies), timeout)
            size = 0
            while self._copies and len(taken) < TOGETHER and size < _TOGETHER_BYTES:
                copy = self._copies.popleft()
                size += len(copy.body)
                taken.append(copy)
            self._bytes -= size
        return taken


class _Receiver(asyncio.Protocol):
    """A connection of nginx, whose requests all have a Content-Length.

    `http.server` would cost more than asking the model does.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._received = bytearray()
        self._headers: dict[str, str] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        try:
            while (copy := self._next()) is not None:
                self._backlog.add(copy)
                self._transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except ValueError as error:
            logger.warning("a copy was not read: %s", error)
            self._transport.close()

    def _next(self) -> Copy | None:
        if not self._headers:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return None
            lines = self._received[:end].decode("latin-1").split("\r\n")[1:]
            named = (line.partition(": ") for line in lines)
            self._headers = {name.lower(): value for name, _, value in named}
            del self._received[: end + 4]
        headers, size = self._headers, int(self._headers.get("content-length", 0))
        if len(self._received) < size:
            return None
        body = bytes(self._received[:size])
        del self._received[:size]
        self._headers = {}
        return Copy(
            verb=headers.get("x-verb", ""),
            body=body,
            variant=headers.get("x-variant", ""),
            request_id=headers.get("x-request-id", ""),
            time=float(headers.get("x-time") or time.time()),
        )


def receive(port: int, backlog: Backlog) -> None:
    """Listens on 127.0.0.1, and puts aside what comes for as long as this process lives.

    Raises:
        OSError: the port is taken.
    """
    loop = asyncio.new_event_loop()
    loop.run_until_complete(loop.create_server(lambda: _Receiver(backlog), "127.0.0.1", port))
    threading.Thread(target=loop.run_forever, daemon=True).start()
