"""A server that says yes to everything, and an edge in front of it: what nginx does by itself."""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from serving.edge.running import running_edge
from serving.edge.values import Edge
from tests.integration.conftest import free_port

MODEL = "grey"


@dataclass
class Backend:
    """Answers at once, or when it may."""

    port: int = 0
    may_answer: threading.Event = field(default_factory=threading.Event)
    waiting: int = 0


@dataclass
class Front:
    """An edge that runs, and what it said."""

    edge: Edge
    said: io.StringIO

    @property
    def url(self) -> str:
        return f"{self.edge.url}/v1/models/{MODEL}:predict"

    def ask(self, body: str = "{}", **options: Any) -> requests.Response:
        if self.edge.certificate:
            options["verify"] = str(self.edge.certificate)
        return requests.post(self.url, data=body, timeout=60, **options)

    def bearing(self, token: str) -> int:
        return self.ask(headers={"Authorization": f"Bearer {token}"}).status_code


@contextmanager
def backend_running() -> Iterator[Backend]:
    """Runs the server; an answer has the `Authorization` that it saw as `X-Seen`."""
    state = Backend()
    state.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            state.waiting += 1
            state.may_answer.wait(60)
            state.waiting -= 1
            self.send_response_only(200)
            self.send_header("X-Seen", self.headers.get("Authorization", "nothing"))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_request(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield state
        server.shutdown()


@contextmanager
def edge_before(
    backend: Backend, folder: Path, max_log_bytes: int = 1_000_000, **values: Any
) -> Iterator[Front]:
    """Runs an edge, REST alone, in front of the server."""
    address = f"127.0.0.1:{backend.port}"
    edge = Edge(MODEL, folder / MODEL, address, address, folder / "edge", grpc_port=None)
    front = Front(replace(edge, port=free_port(), **values), io.StringIO())
    with running_edge(front.edge, None, max_log_bytes, front.said):
        yield front
