"""An address under which a server can be out of reach while it goes on serving others."""

import socket
import threading
from types import TracebackType
from typing import Self

_BLOCK = 65_536


class Gate:
    """Forwards TCP connections on a port of its own, for the length of a `with` block.

    Attributes:
        url: where it listens, also while it is closed: `http://host:port`.
    """

    def __init__(self, target: str) -> None:
        """Makes the gate, open.

        Args:
            target: `host:port` of the server.
        """
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._address = self._listener.getsockname()
        self.url = f"http://127.0.0.1:{self._address[1]}"

    def __enter__(self) -> Self:
        """Begins to forward."""
        self._forward_from(self._listener)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Listens no longer."""
        self.close()

    def close(self) -> None:
        """Lets every connection be refused."""
        # It wakes up the thread that accepts; closing alone would not.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def open(self) -> None:
        """Forwards again, on the same port."""
        self._listener = socket.create_server(self._address)
        self._forward_from(self._listener)

    def _forward_from(self, listener: socket.socket) -> None:
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._target)
            except OSError:
                caller.close()
                continue
            for source, sink in ((caller, server), (server, caller)):
                threading.Thread(target=_copy, args=(source, sink), daemon=True).start()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while block := source.recv(_BLOCK):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        source.close()
        sink.close()
