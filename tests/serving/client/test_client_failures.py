"""Whatever a server, a proxy or a caller does, a client answers or raises one ClientError."""

import base64
import http.server
import json
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
import numpy as np
import pytest

from serving.client.connection import Api, connect
from serving.client.errors import (
    ClientError,
    InvalidRequestError,
    TimeoutExceededError,
    UnavailableError,
)
from serving.client.grpc_client import GrpcClient
from serving.client.grpc_messages import get_model_status_pb2, model_service_pb2_grpc
from serving.client.interface import ModelClient
from serving.client.rest_client import RestClient
from serving.client.retry import Retries
from serving.client.tls import TlsOptions
from serving.status import State, VersionStatus
from tests.raw_servers import DRIPS, dripping, ends_within
from tests.serving.client.conftest import Certificates, Handle, Serve

ONCE = Retries(attempts=1)
AVAILABLE = {
    "model_version_status": [
        {"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
}
FLOAT = {"dtype": "DT_FLOAT", "tensor_shape": {"unknown_rank": True, "dim": []}}
METADATA = {
    "metadata": {
        "signature_def": {
            "signature_def": {"serving_default": {"inputs": {"x": FLOAT}, "outputs": {"y": FLOAT}}}
        }
    }
}


def answer(body: object, code: int = 200) -> Handle:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def handle(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return handle


def answer_after_metadata(body: object) -> Handle:
    def handle(request: http.server.BaseHTTPRequestHandler) -> None:
        answer(METADATA if request.command == "GET" else body)(request)

    return handle


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Please log in</html>",
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        *({}, [], None, 3, "x", {"outputs": 1}, {"results": 1}, {"metadata": None}),
        *({"outputs": {"y": {}}}, {"outputs": "x"}, {"results": [["a"]]}, {"results": [[[1, {}]]]}),
    ],
)
def test_a_200_of_another_form_is_one_client_error(serve: Serve, body: object) -> None:
    calls: list[Callable[[ModelClient], object]] = [
        lambda client: client.status(),
        lambda client: client.classify([{"x": 1.0}]),
        lambda client: client.predict({"x": [1.0]}),
        lambda client: client.signature(),
    ]
    for handle in (answer(body), answer_after_metadata(body)):
        client = RestClient(serve(handle), "m", retries=ONCE)
        for call in calls:
            # Whatever else it raises fails the test.
            with suppress(ClientError):
                call(client)
        with pytest.raises(ClientError):
            client.status()
        client.close()


@pytest.mark.parametrize("code", [302, 400, 418, 500, 503])
@pytest.mark.parametrize("body", [b"", b"no json", {"error": "why"}, ["x"], {"error": None}])
def test_any_other_status_is_one_client_error(serve: Serve, code: int, body: object) -> None:
    with pytest.raises(ClientError) as raised:
        RestClient(serve(answer(body, code)), "m", retries=ONCE).status()
    assert raised.value.message == ("why" if body == {"error": "why"} else raised.value.message)


def test_a_server_that_hangs_up_is_unavailable(serve: Serve) -> None:
    def half(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "100")
        request.end_headers()
        request.wfile.write(b"{")
        request.close_connection = True

    with pytest.raises(UnavailableError):
        RestClient(serve(half), "m", retries=ONCE).status()


@pytest.mark.parametrize("part", DRIPS)
def test_a_server_that_sends_byte_by_byte_does_not_get_more_time(part: str) -> None:
    with dripping(*DRIPS[part]) as server, ends_within(30), pytest.raises(TimeoutExceededError):
        RestClient(server, "m", timeout=0.3, retries=ONCE).status()


def test_nor_does_one_that_does_so_within_tls(serve: Serve, certificates: Certificates) -> None:
    def drip(request: http.server.BaseHTTPRequestHandler) -> None:
        with suppress(OSError):
            while True:
                request.wfile.write(b"H")
                time.sleep(0.05)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server, certificates.server_key)
    tls = TlsOptions(ca_file=certificates.authority, server_name="model-server")
    client = RestClient(
        f"https://{serve(drip, tls=context)}", "m", timeout=0.5, retries=ONCE, tls=tls
    )
    with ends_within(30), pytest.raises(TimeoutExceededError):
        client.status()


def test_a_connection_is_kept_whatever_time_was_left_of_an_answer(serve: Serve) -> None:
    ports = []

    def handle(request: http.server.BaseHTTPRequestHandler) -> None:
        ports.append(request.client_address[1])
        time.sleep(2)
        answer(AVAILABLE)(request)

    client = RestClient(serve(handle), "m", timeout=3.5, retries=ONCE)
    assert len([client.status() for _ in range(2)]) == 2
    assert len(set(ports)) == 1


def test_an_answer_without_an_end_is_not_kept(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.client.rest_transport._MOST_BYTES", 1 << 20)
    client = RestClient(serve(answer(b" " * (2 << 20))), "m", retries=ONCE)
    with pytest.raises(ClientError, match="answered with more than 1 MB"):
        client.status()


@pytest.mark.parametrize("code", [401, 403, 429, 502, 503, 504])
@pytest.mark.parametrize("body", [b"<html>", {"error": "why"}])
def test_what_says_nothing_about_a_model_is_an_accident(
    serve: Serve, code: int, body: object
) -> None:
    with pytest.raises(ClientError) as raised:
        RestClient(serve(answer(body, code)), "m", retries=ONCE).status()
    assert raised.value.is_accident


@pytest.mark.parametrize("code", [400, 404, 412, 500, 501])
def test_a_models_error_is_one_only_in_the_words_of_a_model_server(serve: Serve, code: int) -> None:
    for body, is_accident in (({"error": "why"}, False), (b"<html>", True)):
        with pytest.raises(ClientError) as raised:
            RestClient(serve(answer(body, code)), "m", retries=ONCE).status()
        assert raised.value.is_accident == is_accident


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://[::1", "http://h:port", "x://y"])
@pytest.mark.parametrize("api", list(Api))
def test_an_address_that_is_none_is_refused(url: str, api: Api) -> None:
    with pytest.raises(ClientError):
        connect("m", api, url, timeout=1).wait_until_available(timeout=0)


@pytest.mark.parametrize("api", list(Api))
@pytest.mark.parametrize(
    "example",
    [{"x": object()}, {"x": [1, "a", 2.0]}, {"x": 2**70}, {"x": np.zeros(3)}, {"x": None}],
)
def test_what_cannot_be_sent_is_a_client_error(
    serve: Serve, api: Api, example: dict[str, Any]
) -> None:
    client = connect("m", api, serve(answer({}, 400)), timeout=5)
    with pytest.raises(ClientError):
        client.classify([example])


@pytest.mark.parametrize("version", [-1, 2**63, 2**70])
@pytest.mark.parametrize("api", list(Api))
def test_what_is_not_a_version_is_refused(api: Api, version: int) -> None:
    with pytest.raises(InvalidRequestError, match="is not a version number"):
        connect("m", api, "127.0.0.1:1").status(version)


def test_a_rest_client_may_be_used_by_many_threads(serve: Serve) -> None:
    connections = set()

    def handle(request: http.server.BaseHTTPRequestHandler) -> None:
        connections.add(request.client_address)
        answer(AVAILABLE)(request)

    client = RestClient(serve(handle), "m")
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: client.status(), range(200)))
    assert found == [[VersionStatus(7, State.AVAILABLE)]] * 200
    assert len(connections) <= 8


@pytest.fixture
def behind_a_proxy(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> list[str]:
    """An environment with a proxy; returns what it was asked for."""
    asked: list[str] = []

    def handle(request: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        answer(AVAILABLE)(request)

    proxy = f"http://{serve(handle)}"
    for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.upper(), proxy)
    for name in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    return asked


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1"])
def test_rest_on_loopback_goes_around_the_proxy(
    serve: Serve, behind_a_proxy: list[str], host: str
) -> None:
    RestClient(serve(answer(AVAILABLE), host), "m", retries=ONCE).status()
    assert behind_a_proxy == []


def test_rest_elsewhere_goes_through_the_proxy(behind_a_proxy: list[str]) -> None:
    client = RestClient("http://model-server.example:8501", "m", retries=ONCE)
    assert client.status() == [VersionStatus(7, State.AVAILABLE)]
    assert behind_a_proxy == ["http://model-server.example:8501/v1/models/m"]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("alice:p%40ss", b"alice:p@ss"),
        ("alice", b"alice:"),
        ("al%C3%AFce:%E6%A8%A1", "alïce:模".encode()),
    ],
)
def test_a_proxy_is_given_the_password_that_percent_signs_stand_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, written: str, sent: bytes
) -> None:
    given: list[str] = []

    def handle(request: http.server.BaseHTTPRequestHandler) -> None:
        given.append(request.headers["Proxy-Authorization"])
        answer(AVAILABLE)(request)

    monkeypatch.setenv("http_proxy", f"http://{written}@{serve(handle)}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    RestClient("http://model-server.example:8501", "m", retries=ONCE).status()
    assert [base64.b64decode(value.removeprefix("Basic ")) for value in given] == [sent]


@pytest.mark.parametrize("proxy", ["http://10.0.0.1:port", "http://[::1", "http://ü:模@10.0.0.1"])
def test_a_proxy_that_cannot_be_used_is_a_client_error(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(InvalidRequestError, match=r"the proxy .* cannot be used"):
        RestClient("http://model-server.example:8501", "m")


class Status(model_service_pb2_grpc.ModelServiceServicer):
    def GetModelStatus(self, request: Any, context: Any) -> Any:
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=7, state=30)
        return response


@pytest.fixture
def grpc_server() -> Iterator[Callable[..., int]]:
    servers = []

    def start(host: str, credentials: grpc.ServerCredentials | None = None) -> int:
        server = grpc.server(ThreadPoolExecutor(2))
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(Status(), server)
        address = f"{host}:0"
        port: int = (
            server.add_secure_port(address, credentials)
            if credentials
            else server.add_insecure_port(address)
        )
        server.start()
        servers.append(server)
        return port

    yield start
    for server in servers:
        server.stop(0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "[::1]"])
@pytest.mark.parametrize("form", ["{}:{}", "http://{}:{}", "http://{}:{}/"])
def test_grpc_on_loopback_goes_around_the_proxy(
    grpc_server: Callable[..., int], behind_a_proxy: list[str], host: str, form: str
) -> None:
    port = grpc_server(host)
    client = GrpcClient(form.format(host, port), "m", timeout=10)
    assert client.status() == [VersionStatus(7, State.AVAILABLE)]
    assert behind_a_proxy == []
    client.close()


def test_a_closed_grpc_client_raises_a_client_error(grpc_server: Callable[..., int]) -> None:
    client = GrpcClient(f"127.0.0.1:{grpc_server('127.0.0.1')}", "m", retries=ONCE)
    client.close()
    with pytest.raises(ClientError):
        client.status()


@pytest.fixture(params=list(Api))
def secured(
    request: pytest.FixtureRequest,
    serve: Serve,
    grpc_server: Callable[..., int],
    certificates: Certificates,
) -> Callable[[TlsOptions | None], ModelClient]:
    """Makes clients of a server, over REST and gRPC, that wants a certificate of them."""
    if request.param is Api.REST:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.server, certificates.server_key)
        context.load_verify_locations(certificates.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        address = serve(answer(AVAILABLE), tls=context)
    else:
        credentials = grpc.ssl_server_credentials(
            [(certificates.server_key.read_bytes(), certificates.server.read_bytes())],
            certificates.authority.read_bytes(),
            require_client_auth=True,
        )
        address = f"127.0.0.1:{grpc_server('127.0.0.1', credentials)}"
    kind = RestClient if request.param is Api.REST else GrpcClient
    return lambda tls: kind(f"https://{address}", "m", timeout=10, retries=ONCE, tls=tls)


def test_https_proves_both_sides(
    secured: Callable[[TlsOptions | None], ModelClient], certificates: Certificates
) -> None:
    tls = TlsOptions(
        certificates.authority, certificates.client, certificates.client_key, "model-server"
    )
    assert secured(tls).status() == [VersionStatus(7, State.AVAILABLE)]


@pytest.mark.parametrize("missing", ["authority", "name", "client", "all"])
def test_https_refuses_what_is_not_proved(
    secured: Callable[[TlsOptions | None], ModelClient], certificates: Certificates, missing: str
) -> None:
    options = TlsOptions(
        None if missing == "authority" else certificates.authority,
        None if missing == "client" else certificates.client,
        None if missing == "client" else certificates.client_key,
        None if missing == "name" else "model-server",
    )
    with pytest.raises(ClientError) as refused:
        secured(None if missing == "all" else options).status()
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("api", list(Api))
def test_tls_options_that_cannot_be_used_are_refused(api: Api, certificates: Certificates) -> None:
    nowhere = certificates.authority.with_name("nowhere.pem")
    with pytest.raises(InvalidRequestError, match=r"nowhere\.pem"):
        connect("m", api, "https://127.0.0.1:1", tls=TlsOptions(ca_file=nowhere))
    with pytest.raises(InvalidRequestError, match="need an address with https://"):
        connect("m", api, "http://127.0.0.1:1", tls=TlsOptions())
    with pytest.raises(InvalidRequestError, match="must be given together"):
        TlsOptions(certificate=certificates.client)


def test_waiting_for_a_server_asks_in_the_time_that_is_left() -> None:
    client = RestClient("http://127.0.0.1:1", "m")
    with pytest.raises(TimeoutExceededError, match="m is not AVAILABLE after 0 s: cannot reach"):
        client.wait_until_available(timeout=0)
