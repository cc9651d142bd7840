"""The nginx configuration of an edge, generated whole from a few values."""

import os
import re
import resource

from serving.edge.routes import BUCKETS
from serving.edge.secrets import FILES
from serving.edge.servers import grpc_server, rest_server
from serving.edge.values import Edge, EdgeError, quoted

_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_PASSWORD = re.compile(r"[^:\s][^:]*:\S+")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,512}")
# That each of nginx's processes may have open, where the system allows so many.
_MOST_FILES = 8192


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
    for name in FILES:
        path = getattr(edge, name)
        if path is not None and not os.access(path, os.R_OK):
            raise EdgeError(f"edge.{name}: {path} cannot be read")
    if edge.passwords:
        lines = edge.passwords.read_text(errors="replace").split("\n")
        known = [line for line in lines if line.strip() and not line.startswith("#")]
        if not known or not all(map(_PASSWORD.match, known)):
            raise EdgeError(f"edge.passwords: {edge.passwords} must hold what htpasswd writes")


def _process(edge: Edge) -> list[str]:
    files = min(_MOST_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    return [
        # Workers must see what this user sees: the folder of the model, and certificates.
        *(["user root;"] if os.geteuid() == 0 else []),
        "worker_processes 2;",
        "daemon off;",
        f"pid {quoted(edge.folder / 'nginx.pid')};",
        f"error_log {quoted(edge.error_log)} warn;",
        "worker_shutdown_timeout 60s;",
        # Out of connections, nginx closes idle ones; out of files, it accepts nobody any more.
        f"worker_rlimit_nofile {files};",
        "events {",
        f"    worker_connections {files // 2};",
        "}",
    ]


def _http(edge: Edge) -> list[str]:
    header = edge.sticky_header.lower().replace("-", "_")
    return [
        *(f"{name}_temp_path {quoted(edge.folder / name)};" for name in _TEMPORARY),
        "server_tokens off;",
        "uninitialized_variable_warn off;",
        "variables_hash_max_size 2048;",
        # Only what this project needs to judge versions: no address, no header, no query.
        'log_format edge escape=json \'{"time":$msec,"id":"$edge_id","model":"$edge_model",'
        '"variant":"$variant","method":"$request_method","path":"$uri","status":$status,'
        '"seconds":$request_time,"server_seconds":"$upstream_response_time",'
        '"bytes_in":$request_length,"bytes_out":$bytes_sent}\';',
        f"access_log {quoted(edge.access_log)} edge buffer=16k flush=1s;",
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
        *_indented(rest_server(edge)),
        "}",
        *(["server {", *_indented(grpc_server(edge)), "}"] if edge.grpc_port else []),
    ]


def _authorization(edge: Edge) -> list[str]:
    if edge.tokens is None:
        return []
    tokens = edge.tokens.read_text(errors="replace").split()
    if not tokens or not all(map(_TOKEN.fullmatch, tokens)):
        raise EdgeError(
            f"edge.tokens: {edge.tokens} must hold a token a line, each of 16 to 512 letters, "
            "digits and ._~+/=-"
        )
    # As patterns: plain keys of a map would be compared without regard to case.
    known = [f'    "~^Bearer {re.escape(token)}$" 1;' for token in tokens]
    return ["map $http_authorization $is_known {", *known, "    default 0;", "}"]


def _limits(edge: Edge) -> list[str]:
    lines = []
    if edge.requests_per_second:
        lines += [
            f"limit_req_zone $binary_remote_addr zone=rate:10m rate={edge.requests_per_second}r/s;",
            f"limit_req zone=rate burst={edge.burst} nodelay;",
            "limit_req_status 429;",
        ]
    if edge.connections_per_address:
        lines += [
            "limit_conn_zone $binary_remote_addr zone=connections:10m;",
            f"limit_conn connections {edge.connections_per_address};",
            "limit_conn_status 429;",
        ]
    return lines


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


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]
