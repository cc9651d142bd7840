"""The nginx configuration of an edge, generated whole from a few values."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from serving.addresses import bare_host, join_host_port, reachable_host
from serving.edge.routes import BUCKETS, Routes

_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
# Of quoted values; a `$` would be a variable.
_UNQUOTABLE = re.compile(r'["$\\\x00-\x1f]')
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,512}")
# The next request on a client's connection waits as long, once.
_RECORDER_WAIT = "200ms"


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
    def answer_log(self) -> Path:
        """One JSON object a recorded picture, with its predicted label."""
        return self.folder / "answers.log"

    @property
    def records(self) -> bool:
        """Whether any request is handed to a recorder."""
        return bool(self.recorder) and self.sample > 0


def render(edge: Edge) -> str:
    """Returns nginx.conf.

    Raises:
        EdgeError: values that contradict each other, a file that cannot be read or holds no token.
    """
    _check(edge)
    return "\n".join([*_process(edge), "http {", *_indented(_http(edge)), "}", ""])


def _check(edge: Edge) -> None:
    if (edge.certificate is None) != (edge.key is None):
        raise EdgeError("edge.certificate and edge.key go together: give both or none")
    if edge.tokens and edge.passwords:
        raise EdgeError("edge.tokens and edge.passwords exclude each other: give one of them")
    for name in ("certificate", "key", "tokens", "passwords"):
        path = getattr(edge, name)
        if path is not None and not os.access(path, os.R_OK):
            raise EdgeError(f"edge.{name}: {path} cannot be read")


def _process(edge: Edge) -> list[str]:
    return [
        # Workers must see what this user sees: the folder of the model, and certificates.
        *(["user root;"] if os.geteuid() == 0 else []),
        "worker_processes 2;",
        "daemon off;",
        f"pid {_quoted(edge.folder / 'nginx.pid')};",
        f"error_log {_quoted(edge.folder / 'error.log')} warn;",
        "worker_shutdown_timeout 60s;",
        "events {",
        "    worker_connections 4096;",
        "}",
    ]


def _http(edge: Edge) -> list[str]:
    header = edge.sticky_header.lower().replace("-", "_")
    return [
        *(f"{name}_temp_path {_quoted(edge.folder / name)};" for name in _TEMPORARY),
        "server_tokens off;",
        "uninitialized_variable_warn off;",
        "variables_hash_max_size 2048;",
        # Only what this project needs to judge versions: no address, no header, no query.
        'log_format edge escape=json \'{"time":$msec,"id":"$edge_id","model":"$edge_model",'
        '"variant":"$variant","method":"$request_method","path":"$uri","status":$status,'
        '"seconds":$request_time,"server_seconds":"$upstream_response_time",'
        '"bytes_in":$request_length,"bytes_out":$bytes_sent}\';',
        f"access_log {_quoted(edge.access_log)} edge buffer=16k flush=1s;",
        "map $uri $edge_model {",
        "    ~^/v1/models/(?<named>[^/:]+) $named;",
        '    default "";',
        "}",
        "map $http_x_request_id $edge_id {",
        '    "~^[A-Za-z0-9_.-]{1,64}$" $http_x_request_id;',
        "    default $request_id;",
        "}",
        f"map $http_{header} $client_key {{",
        '    "" $remote_addr;',
        f"    default $http_{header};",
        "}",
        # The same client is always in the same bucket, and a canary takes buckets from the first
        # on: growing its share only adds clients.
        'split_clients "$client_key" $bucket {',
        *(f"    1% {bucket};" for bucket in range(BUCKETS - 1)),
        f"    * {BUCKETS - 1};",
        "}",
        *_authorization(edge),
        *_limits(edge),
        *_upstreams(edge),
        "server {",
        *_indented(_rest(edge)),
        "}",
        *(["server {", *_indented(_grpc(edge)), "}"] if edge.grpc_port else []),
    ]


def _authorization(edge: Edge) -> list[str]:
    if edge.tokens is None:
        return []
    tokens = edge.tokens.read_text().split()
    if not tokens or not all(map(_TOKEN.fullmatch, tokens)):
        raise EdgeError(
            f"edge.tokens: {edge.tokens} must hold a token a line, each of 16 to 512 letters, "
            "digits and ._~+/=-"
        )
    # As patterns: plain keys of a map would be compared without regard to case.
    known = [f'    "~^Bearer {re.escape(token)}$" 1;' for token in tokens]
    return ["map $http_authorization $is_known {", *known, "    default 0;", "}"]


def _limits(edge: Edge) -> list[str]:
    if not edge.requests_per_second:
        return []
    return [
        f"limit_req_zone $binary_remote_addr zone=clients:10m rate={edge.requests_per_second}r/s;",
        f"limit_req zone=clients burst={edge.burst} nodelay;",
        "limit_req_status 429;",
    ]


def _upstreams(edge: Edge) -> list[str]:
    lines = [
        "upstream model_server {",
        f"    server {edge.rest};",
        "    keepalive 64;",
        "}",
        "upstream model_server_grpc {",
        f"    server {edge.grpc};",
        "    keepalive 16;",
        "}",
    ]
    if edge.records:
        lines += [
            'split_clients "recorded$request_id" $is_recorded {',
            f"    {max(100 * edge.sample, 0.01):.2f}% 1;",
            "    * 0;",
            "}",
            "upstream recorder {",
            # Beside a second one, a recorder that did not answer is left in peace for ten seconds:
            # one request finds out whether it is back, and no other client waits.
            f"    server {edge.recorder} max_fails=1 fail_timeout=10s;",
            "    server 127.0.0.1:9 down;",
            "    keepalive 4;",
            "}",
        ]
    return lines


def _rest(edge: Edge) -> list[str]:
    return [
        *_listener(edge, edge.port, ""),
        *_entrance(edge),
        f"client_max_body_size {edge.max_body_megabytes}m;",
        "proxy_http_version 1.1;",
        'proxy_set_header Connection "";',
        "proxy_set_header Host $host;",
        'proxy_set_header Authorization "";',
        "proxy_set_header X-Request-Id $edge_id;",
        # A connection that the server closed while it lay idle; predictions may be asked twice.
        "proxy_next_upstream error non_idempotent;",
        "proxy_read_timeout 300s;",
        "add_header X-Request-Id $edge_id always;",
        "location / {",
        "    return 404;",
        "}",
        "location /v1/ {",
        "    proxy_pass http://model_server;",
        "}",
        *_shared_out(edge),
        *(_recorded(edge) if edge.records else []),
    ]


def _shared_out(edge: Edge) -> list[str]:
    name = re.escape(edge.model_name)
    routes = Routes(edge.base)
    buffered = [
        # Bodies that are copied stay off the disk.
        f"    client_body_buffer_size {edge.max_body_megabytes}m;",
        "    mirror /_recorded;",
    ]
    return [
        f'location ~ "^/v1/models/{name}:(?<verb>predict|classify|regress)$" {{',
        "    set $variant stable;",
        '    set $label "";',
        f"    if (-f {_quoted(routes.pinned)}) {{",
        "        set $label /labels/stable;",
        "    }",
        f"    if (-f {_quoted(routes.canary, '/$bucket')}) {{",
        "        set $label /labels/canary;",
        "        set $variant canary;",
        "    }",
        f"    rewrite ^ /v1/models/{edge.model_name}$label:$verb break;",
        "    add_header X-Request-Id $edge_id always;",
        "    add_header X-Variant $variant always;",
        *(buffered if edge.records else []),
        "    proxy_pass http://model_server;",
        "}",
    ]


def _recorded(edge: Edge) -> list[str]:
    return [
        "location = /_recorded {",
        "    internal;",
        "    access_log off;",
        "    error_log /dev/null;",
        "    if ($is_recorded = 0) {",
        "        return 204;",
        "    }",
        "    proxy_connect_timeout 100ms;",
        f"    proxy_send_timeout {_RECORDER_WAIT};",
        f"    proxy_read_timeout {_RECORDER_WAIT};",
        "    proxy_next_upstream off;",
        '    proxy_set_header Connection "";',
        '    proxy_set_header Authorization "";',
        "    proxy_set_header X-Request-Id $edge_id;",
        "    proxy_set_header X-Variant $variant;",
        "    proxy_set_header X-Verb $verb;",
        "    proxy_set_header X-Time $msec;",
        f"    proxy_pass http://recorder/{edge.model_name};",
        "}",
    ]


def _grpc(edge: Edge) -> list[str]:
    assert edge.grpc_port is not None
    return [
        *_listener(edge, edge.grpc_port, "http2"),
        *_entrance(edge),
        f"client_max_body_size {edge.max_body_megabytes}m;",
        "grpc_read_timeout 300s;",
        "grpc_set_header X-Request-Id $edge_id;",
        'grpc_set_header Authorization "";',
        "location / {",
        "    grpc_pass grpc://model_server_grpc;",
        "}",
        # It would change what the server serves, and names files for it to write.
        "location = /tensorflow.serving.ModelService/HandleReloadConfigRequest {",
        "    return 403;",
        "}",
    ]


def _listener(edge: Edge, port: int, protocol: str) -> list[str]:
    host = bare_host(edge.host)
    options = " ".join(filter(None, ["ssl" if edge.certificate else "", protocol]))
    lines = [f"listen {join_host_port(host, port)} {options}".rstrip() + ";"]
    if edge.certificate and edge.key:
        lines += [
            f"ssl_certificate {_quoted(edge.certificate)};",
            f"ssl_certificate_key {_quoted(edge.key)};",
            "ssl_protocols TLSv1.2 TLSv1.3;",
            "ssl_session_cache shared:edge:10m;" if not protocol else "ssl_session_tickets off;",
        ]
    return lines


def _entrance(edge: Edge) -> list[str]:
    if edge.tokens:
        return ["if ($is_known = 0) {", "    return 401;", "}"]
    if edge.passwords:
        return ['auth_basic "models";', f"auth_basic_user_file {_quoted(edge.passwords)};"]
    return []


def _quoted(path: Path, variable: str = "") -> str:
    text = str(path)
    if _UNQUOTABLE.search(text):
        raise EdgeError(f'nginx cannot be told of {text!r}: take a path without ", $ and \\')
    return f'"{text}{variable}"'


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]
