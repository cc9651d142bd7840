"""What an edge is: the values that its nginx configuration is generated from."""

import re
from dataclasses import dataclass
from pathlib import Path

from serving.addresses import join_host_port, reachable_host

# Of quoted values; a `$` would be a variable.
_UNQUOTABLE = re.compile(r'["$\\\x00-\x1f]')


class EdgeError(Exception):
    """The edge cannot be had like that; the message says what to change."""


@dataclass(frozen=True)
class Edge:
    """What an edge is.

    Attributes:
        model_name: whose unlabelled requests are shared out.
        base: the model's base directory, as nginx sees it.
        rest: `host:port` of the model server's REST API.
        grpc: `host:port` of its gRPC API.
        folder: of configuration, logs and temporary files.
        host: the address to listen on.
        port: of REST.
        grpc_port: of gRPC; None: it is not passed on.
        certificate: PEM, with `key`: TLS on both ports.
        key: of the certificate.
        tokens: a file with a bearer token a line; a client sends one of them.
        passwords: a file as `htpasswd` writes it.
        max_body_megabytes: of a request.
        requests_per_second: of one client address; 0: no limit.
        burst: requests above that rate that a client may send at once.
        connections_per_address: that are being answered at once; of gRPC, calls; 0: no limit.
        sticky_header: its value, where it is sent, stands for the client instead of its address.
        sample: share of the requests that are handed to the recorder.
        recorder: `host:port` of the recorder; empty: there is none.
    """

    model_name: str
    base: Path
    rest: str
    grpc: str
    folder: Path
    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = 8081
    certificate: Path | None = None
    key: Path | None = None
    tokens: Path | None = None
    passwords: Path | None = None
    max_body_megabytes: int = 16
    requests_per_second: int = 0
    burst: int = 50
    connections_per_address: int = 0
    sticky_header: str = "X-Client-Id"
    sample: float = 0.0
    recorder: str = ""

    @property
    def url(self) -> str:
        """Where a client of this machine reaches REST."""
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://{join_host_port(reachable_host(self.host), self.port)}"

    @property
    def access_log(self) -> Path:
        """One JSON object a request."""
        return self.folder / "access.log"

    @property
    def error_log(self) -> Path:
        """What nginx says; large bodies and refused requests are a line each."""
        return self.folder / "error.log"

    @property
    def answer_log(self) -> Path:
        """One JSON object a recorded picture, with its predicted label."""
        return self.folder / "answers.log"

    @property
    def records(self) -> bool:
        """Whether any request is handed to a recorder."""
        return bool(self.recorder) and self.sample > 0


def quoted(path: Path, variable: str = "") -> str:
    """Returns a path as nginx.conf has it; raises EdgeError where that is not possible."""
    text = str(path)
    if _UNQUOTABLE.search(text):
        raise EdgeError(f'nginx cannot be told of {text!r}: take a path without ", $ and \\')
    return f'"{text}{variable}"'
