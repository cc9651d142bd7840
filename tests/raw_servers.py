"""Servers that send bytes, whatever they are, to whoever asks."""

import re
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

STATUS = b"HTTP/1.1 200 OK\r\n\r\n"
SAID = b'{"model_version_status": [{"version": "7", "state": "AVAILABLE"}]}'

# What is no answer of a model server.
ODD = {
    "gRPC": b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0\x40\0",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + SAID,
    "another chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "an endless head": STATUS[:-2] + b"X: y\r\n" * 1_000 + b"\r\n",
    "other JSON": STATUS + b'{"model_version_status": ["x"]}',
    "a number": STATUS + b"3",
    "deep JSON": STATUS + b"[" * 100_000,
    "a page": STATUS + b"<html>a login page</html>",
    "another server's 404": b"HTTP/1.1 404 Not Found\r\n\r\n<html>no such page</html>",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n",
}


@contextmanager
def raw_server(
    chunks: Iterable[bytes], pause: float = 0.0, posts: Iterator[Iterable[bytes]] | None = None
) -> Iterator[str]:
    """Sends each client the chunks, with a pause after each, and hangs up; yields `host:port`.

    Requests with a body are sent the next of `posts` instead.
    """
    ended = threading.Event()

    def answer(client: socket.socket) -> None:
        with client, client.makefile("rb") as sent, suppress(OSError):
            head = b"".join(iter(sent.readline, b"\r\n")).lower()
            if length := re.search(rb"content-length: (\d+)", head):
                sent.read(int(length[1]))
            for chunk in next(posts) if length and posts else chunks:
                client.sendall(chunk)
                if pause and ended.wait(pause):
                    return

    def listen() -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                threading.Thread(target=answer, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=listen, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        ended.set()
        server.shutdown(socket.SHUT_RDWR)


@contextmanager
def dripping(begin: bytes, drop: bytes) -> Iterator[str]:
    """Sends the begin of an answer and then drop after drop, for a minute."""
    with raw_server([begin, *[drop] * 1_200], pause=0.05) as address:
        yield address


DRIPS = {"head": (b"HTTP/1.1 200 OK\r\nX: ", b"y"), "body": (STATUS, b" ")}


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """Fails a block that has taken longer."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds
