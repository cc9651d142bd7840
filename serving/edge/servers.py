"""The two `server` blocks of nginx.conf: REST, whose requests are shared out, and gRPC."""

import re

from serving.addresses import bare_host, join_host_port
from serving.edge.routes import Routes
from serving.edge.values import Edge, quoted

# The next request on a client's connection waits as long, once.
_RECORDER_WAIT = "200ms"


def rest_server(edge: Edge) -> list[str]:
    """Returns the directives of the REST API."""
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
        f"    if (-f {quoted(routes.pinned)}) {{",
        "        set $label /labels/stable;",
        "    }",
        f"    if (-f {quoted(routes.canary, '/$bucket')}) {{",
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


def grpc_server(edge: Edge) -> list[str]:
    """Returns the directives of gRPC, which passes as it is."""
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
            f"ssl_certificate {quoted(edge.certificate)};",
            f"ssl_certificate_key {quoted(edge.key)};",
            "ssl_protocols TLSv1.2 TLSv1.3;",
            "ssl_session_cache shared:edge:10m;" if not protocol else "ssl_session_tickets off;",
        ]
    return lines


def _entrance(edge: Edge) -> list[str]:
    if edge.tokens:
        return ["if ($is_known = 0) {", "    return 401;", "}"]
    if edge.passwords:
        return ['auth_basic "models";', f"auth_basic_user_file {quoted(edge.passwords)};"]
    return []
