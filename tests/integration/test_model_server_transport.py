"""gRPC's transport with methods of the test's own: limits, deadlines, sockets, TLS, health."""

import datetime
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from serving.model_server.errors import Code, ServingError
from tests.integration.edge_stage import wait_until
from tests.integration.hostile_clients import HTTP2_PREFACE

pytestmark = pytest.mark.integration

StartGrpc = Callable[..., Any]


class Echo:
    """Answers a request with its own bytes once the gate is open."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def SerializeToString(self) -> bytes:
        return self._content


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    event.set()
    yield event
    event.set()


@pytest.fixture
def entered() -> threading.Event:
    """Set once a call is being answered."""
    return threading.Event()


@pytest.fixture
def start(gate: threading.Event, entered: threading.Event) -> Iterator[StartGrpc]:
    from serving.model_server import deadline
    from serving.model_server.grpc_server import GrpcOptions, GrpcServer
    from serving.model_server.grpc_services import Method

    def echo(request: bytes) -> Echo:
        entered.set()
        assert gate.wait(60)
        if request == b"bug":
            raise ZeroDivisionError("a bug")
        if request == b"refuse":
            raise ServingError(Code.OUT_OF_RANGE, "refused")
        if request == b"how long":
            return Echo(str(deadline.remaining()).encode())
        return Echo(request)

    servers = []

    def starter(**options: Any) -> Any:
        server = GrpcServer({"/test/Echo": Method(bytes, echo)}, GrpcOptions(**options))
        servers.append(server)
        server.start()
        return server

    yield starter
    for server in servers:
        server.stop(0)


def echo(channel: grpc.Channel, request: bytes = b"hello", timeout: float | None = 60) -> bytes:
    answer: bytes = channel.unary_unary("/test/Echo")(request, timeout=timeout)
    return answer


def test_a_unix_socket_serves(start: StartGrpc, tmp_path: Path) -> None:
    start(socket_path=str(tmp_path / "grpc.sock"))
    with grpc.insecure_channel(f"unix:{tmp_path}/grpc.sock") as channel:
        assert echo(channel) == b"hello"


def test_a_second_server_does_not_take_the_socket_of_the_first(
    start: StartGrpc, tmp_path: Path
) -> None:
    path = str(tmp_path / "grpc.sock")
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(path)
    first = start(socket_path=path)
    with grpc.insecure_channel(f"unix:{path}") as channel:
        with pytest.raises(ServingError, match=f"a server listens at {path}"):
            start(socket_path=path)
        assert echo(channel) == b"hello"
    first.stop(0)
    start(socket_path=path)
    with grpc.insecure_channel(f"unix:{path}") as channel:
        assert echo(channel) == b"hello"


@pytest.fixture
def channel(start: StartGrpc, tmp_path: Path) -> Iterator[grpc.Channel]:
    """A channel to a server that answers two calls at a time."""
    start(socket_path=str(tmp_path / "grpc.sock"), max_threads=2)
    with grpc.insecure_channel(f"unix:{tmp_path}/grpc.sock") as channel:
        yield channel


@pytest.mark.parametrize(
    ("request_bytes", "code", "details"),
    [
        (b"refuse", grpc.StatusCode.OUT_OF_RANGE, "refused"),
        (b"bug", grpc.StatusCode.INTERNAL, "ZeroDivisionError: a bug"),
    ],
)
def test_errors_become_status_codes(
    channel: grpc.Channel, request_bytes: bytes, code: grpc.StatusCode, details: str
) -> None:
    with pytest.raises(grpc.RpcError) as refusal:
        echo(channel, request_bytes)
    assert (refusal.value.code(), refusal.value.details()) == (code, details)


@pytest.mark.parametrize(("timeout", "seconds"), [(None, 600), (1e9, 600), (3600, 3600)])
def test_a_call_without_a_deadline_ends_all_the_same(
    channel: grpc.Channel, timeout: float | None, seconds: float
) -> None:
    """One that ran for ever would keep its place, also when its client had long gone.

    A client's gRPC sends its timeout in three digits and rounds up: 3,610 s for an hour.
    """
    assert float(echo(channel, b"how long", timeout)) == pytest.approx(seconds, rel=0.01)


def test_calls_past_the_limit_are_refused_and_the_others_answered(
    channel: grpc.Channel, gate: threading.Event
) -> None:
    gate.clear()
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(echo, channel) for _ in range(8)]
        refused = []
        while len(refused) < 6:
            refused = [call for call in calls if call.done()]
        gate.set()
        answered = [call.result() for call in calls if call not in refused]
    assert answered == [b"hello"] * 2
    for call in refused:
        error = call.exception()
        assert isinstance(error, grpc.RpcError)
        assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert echo(channel) == b"hello"


def test_calls_without_a_message_hold_up_no_other(channel: grpc.Channel) -> None:
    silence = threading.Event()

    def silent() -> Iterator[bytes]:
        silence.wait(120)
        yield from ()

    calls = [channel.stream_unary("/test/Echo").future(silent(), timeout=120) for _ in range(40)]
    assert [echo(channel, timeout=60) for _ in range(20)] == [b"hello"] * 20
    silence.set()
    for call in calls:
        error = call.exception()
        assert isinstance(error, grpc.RpcError)
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED
        assert error.details() == '"/test/Echo" requires exactly one request message.'


def test_open_reflection_streams_hold_up_no_call(channel: grpc.Channel) -> None:
    from grpc_reflection.v1alpha import reflection_pb2_grpc

    silence = threading.Event()

    def silent() -> Iterator[Any]:
        silence.wait(120)
        yield from ()

    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    streams = [stub.ServerReflectionInfo(silent(), timeout=120) for _ in range(40)]
    assert [echo(channel, timeout=60) for _ in range(20)] == [b"hello"] * 20
    silence.set()
    assert [list(stream) for stream in streams] == [[]] * 40


def test_a_call_given_up_while_it_waited_is_never_answered(
    start: StartGrpc, gate: threading.Event, entered: threading.Event, tmp_path: Path
) -> None:
    from serving.model_server.grpc_server import GrpcOptions, GrpcServer
    from serving.model_server.grpc_services import Method

    answered: list[bytes] = []

    def slow(request: bytes) -> Echo:
        entered.set()
        assert gate.wait(60)
        answered.append(request)
        return Echo(request)

    address = f"unix:{tmp_path}/slow.sock"
    server = GrpcServer(
        {"/test/Echo": Method(bytes, slow)},
        GrpcOptions(socket_path=f"{tmp_path}/slow.sock", max_threads=1),
    )
    server.start()
    gate.clear()
    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(1) as pool:
        first = pool.submit(echo, channel, b"first")
        assert entered.wait(60)
        call = channel.unary_unary("/test/Echo").future(b"given up")
        time.sleep(0.5)
        call.cancel()
        time.sleep(0.5)  # Nothing tells when the server has noticed.
        gate.set()
        assert first.result(60) == b"first"
        assert echo(channel, b"last") == b"last"
    server.stop(0)
    assert answered == [b"first", b"last"]


def test_a_call_given_up_before_it_had_a_thread_leaves_no_error_in_the_log(
    start: StartGrpc,
    gate: threading.Event,
    entered: threading.Event,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("serving.model_server.grpc_server._PLACE_WAIT_SECONDS", 30)
    start(socket_path=f"{tmp_path}/grpc.sock", max_threads=1)
    gate.clear()
    with (
        grpc.insecure_channel(f"unix:{tmp_path}/grpc.sock") as channel,
        ThreadPoolExecutor(2) as pool,
    ):
        # There are two threads: one answers, one waits for its place.
        first = [pool.submit(echo, channel) for _ in range(2)]
        assert entered.wait(60)
        given_up = [channel.unary_unary("/test/Echo").future(b"given up") for _ in range(5)]
        time.sleep(0.5)
        for call in given_up:
            call.cancel()
        time.sleep(0.5)  # Nothing tells when the server has noticed.
        gate.set()
        assert [call.result(60) for call in first] == [b"hello"] * 2
        assert echo(channel, b"last") == b"last"
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_many_clients_with_short_calls_are_all_answered(
    channel: grpc.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine that stands still for a moment, too, which makes a short call a long one."""
    monkeypatch.setattr("serving.model_server.grpc_server._PLACE_WAIT_SECONDS", 30)
    with ThreadPoolExecutor(16) as pool:
        calls = [pool.submit(echo, channel) for _ in range(400)]
        assert all(call.result() == b"hello" for call in calls)


def test_a_deadline_ends_the_call_not_the_server(
    channel: grpc.Channel, gate: threading.Event
) -> None:
    gate.clear()
    with pytest.raises(grpc.RpcError) as refusal:
        echo(channel, timeout=0.2)
    assert refusal.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    gate.set()
    assert echo(channel) == b"hello"


def test_channel_arguments_limit_message_sizes(start: StartGrpc, tmp_path: Path) -> None:
    from serving.model_server.grpc_server import parse_channel_arguments

    start(
        socket_path=str(tmp_path / "small.sock"),
        channel_arguments=parse_channel_arguments("grpc.max_receive_message_length=100,a.b=c"),
    )
    with grpc.insecure_channel(f"unix:{tmp_path}/small.sock") as channel:
        assert echo(channel, bytes(100)) == bytes(100)
        with pytest.raises(grpc.RpcError) as refusal:
            echo(channel, bytes(101))
    assert refusal.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("packed", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_past_the_bound_is_refused_as_it_was_before_it_was_packed(
    start: StartGrpc, tmp_path: Path, packed: grpc.Compression
) -> None:
    start(socket_path=str(tmp_path / "grpc.sock"), max_message_bytes=1 << 20)
    with grpc.insecure_channel(f"unix:{tmp_path}/grpc.sock") as channel:
        call = channel.unary_unary("/test/Echo")
        assert call(bytes(1 << 20), timeout=60, compression=packed) == bytes(1 << 20)
        with pytest.raises(grpc.RpcError, match="larger than max") as refusal:
            call(bytes((1 << 20) + 1), timeout=60, compression=packed)
    assert refusal.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_channel_arguments_override_the_bound_of_messages(start: StartGrpc, tmp_path: Path) -> None:
    from serving.model_server.grpc_server import parse_channel_arguments

    start(
        socket_path=str(tmp_path / "grpc.sock"),
        max_message_bytes=100,
        channel_arguments=parse_channel_arguments("grpc.max_receive_message_length=-1"),
    )
    with grpc.insecure_channel(f"unix:{tmp_path}/grpc.sock") as channel:
        assert echo(channel, bytes(1000)) == bytes(1000)


def test_no_bound_is_larger_than_grpc_can_be_told(start: StartGrpc, tmp_path: Path) -> None:
    start(socket_path=str(tmp_path / "grpc.sock"), max_message_bytes=2**63 - 1)
    with grpc.insecure_channel(f"unix:{tmp_path}/grpc.sock") as channel:
        assert echo(channel) == b"hello"


@pytest.mark.parametrize("number", ["2147483648", "-2147483649", "9" * 5000])
def test_a_channel_argument_that_grpc_does_not_take_is_refused(number: str) -> None:
    from serving.model_server.grpc_server import parse_channel_arguments

    with pytest.raises(ServingError, match="is not an int32"):
        parse_channel_arguments(f"a={number}")


def test_only_ascii_digits_make_a_channel_argument_an_integer() -> None:
    from serving.model_server.grpc_server import parse_channel_arguments

    arguments = parse_channel_arguments("a=-1,b=2147483647,c=²,d=-,e=")
    assert arguments == [("a", -1), ("b", 2**31 - 1), ("c", "²"), ("d", "-"), ("e", "")]


def test_a_stop_lets_calls_in_flight_finish(
    start: StartGrpc, gate: threading.Event, entered: threading.Event, tmp_path: Path
) -> None:
    server = start(socket_path=str(tmp_path / "stop.sock"))
    gate.clear()
    with (
        grpc.insecure_channel(f"unix:{tmp_path}/stop.sock") as channel,
        ThreadPoolExecutor(2) as pool,
    ):
        call = pool.submit(echo, channel, b"last")
        assert entered.wait(60)
        stopped = pool.submit(server.stop, 30)
        gate.set()
        stopped.result(60)
        assert call.result(60) == b"last"


def test_health_is_served_if_asked_for(start: StartGrpc, tmp_path: Path) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    start(socket_path=str(tmp_path / "health.sock"), enable_healthcheck=True)
    with grpc.insecure_channel(f"unix:{tmp_path}/health.sock") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "ModelService", "PredictionService"):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_follows_what_the_server_says_of_its_models(
    start: StartGrpc, tmp_path: Path
) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    server = start(socket_path=str(tmp_path / "health.sock"), enable_healthcheck=True)
    with grpc.insecure_channel(f"unix:{tmp_path}/health.sock") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for is_serving in (False, True):
            server.set_serving(is_serving)
            answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=60)
            assert (answer.status == health_pb2.HealthCheckResponse.SERVING) == is_serving
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        server.set_serving(False)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_who_watches_is_told_of_changes_and_of_the_end(start: StartGrpc, tmp_path: Path) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    states = health_pb2.HealthCheckResponse
    server = start(socket_path=str(tmp_path / "health.sock"), enable_healthcheck=True)
    with grpc.insecure_channel(f"unix:{tmp_path}/health.sock") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=30)
        assert next(watch).status == states.SERVING
        server.set_serving(True)
        server.set_serving(False)
        assert next(watch).status == states.NOT_SERVING
        for name in ("none", "neither"):
            unknown = stub.Watch(health_pb2.HealthCheckRequest(service=name), timeout=30)
            assert next(unknown).status == states.SERVICE_UNKNOWN
        server.stop(20)
        assert watch.code() is grpc.StatusCode.OK
    # Names come from clients: what is kept for them does not grow.
    assert set(server._health._send_response_callbacks) == {"", "(unknown)"}


def test_a_client_that_watches_and_does_not_read_keeps_no_check_waiting(
    start: StartGrpc, tmp_path: Path
) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    path = str(tmp_path / "health.sock")
    server = start(socket_path=path, enable_healthcheck=True)
    with socket.socket(socket.AF_UNIX) as client, grpc.insecure_channel(f"unix:{path}") as channel:
        client.connect(path)
        client.sendall(watching_without_a_window())
        wait_until(lambda: "" in server._health._send_response_callbacks, 30)
        server.set_serving(False)
        answer = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(), timeout=30
        )
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_no_streams_keep_out_who_watches_the_health(start: StartGrpc, tmp_path: Path) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    silence = threading.Event()

    def silent() -> Iterator[bytes]:
        silence.wait(60)
        yield from ()

    start(socket_path=str(tmp_path / "health.sock"), enable_healthcheck=True)
    with grpc.insecure_channel(f"unix:{tmp_path}/health.sock") as channel:
        for service, method, count in [
            ("grpc.health.v1.Health", "Watch", 20),
            ("grpc.reflection.v1alpha.ServerReflection", "ServerReflectionInfo", 70),
        ]:
            stream = channel.stream_stream(f"/{service}/{method}")
            streams = [stream(silent(), timeout=60) for _ in range(count)]
            watch = health_pb2_grpc.HealthStub(channel).Watch(
                health_pb2.HealthCheckRequest(), timeout=30
            )
            assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
            for each in [*streams, watch]:
                each.cancel()
    silence.set()


def watching_without_a_window() -> bytes:
    """What a client of HTTP/2 sends that watches the health and takes no byte of an answer."""

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
        return head + payload

    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/grpc.health.v1.Health/Watch",
        b":authority": b"localhost",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
    }
    literal = b"".join(
        b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in headers.items()
    )
    initial_window_size = bytes([0, 4, 0, 0, 0, 0])
    settings, end_headers, end_stream = 4, 4, 1
    return (
        HTTP2_PREFACE
        + frame(settings, 0, 0, initial_window_size)
        + frame(1, end_headers, 1, literal)
        + frame(0, end_stream, 1, bytes(5))
    )


def test_without_the_flag_there_is_no_health_service(channel: grpc.Channel) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with pytest.raises(grpc.RpcError) as refusal:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
    assert refusal.value.code() == grpc.StatusCode.UNIMPLEMENTED


class Identity(NamedTuple):
    """A private key and its certificate, both as PEM."""

    key: bytes
    certificate: bytes


@pytest.fixture(scope="module")
def issue() -> Callable[[str], Identity]:
    """Issues certificates of one authority; the authority's own is issued for `authority`."""
    authority_key = ec.generate_private_key(ec.SECP256R1())

    def issuer(name: str) -> Identity:
        is_authority = name == "authority"
        key = authority_key if is_authority else ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(authority_key, hashes.SHA256())
        )
        return Identity(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            certificate.public_bytes(serialization.Encoding.PEM),
        )

    return issuer


@pytest.fixture
def secure(
    start: StartGrpc, issue: Callable[[str], Identity], tmp_path: Path
) -> Callable[..., grpc.Channel]:
    """Starts a TLS server and gives channels to it, with or without a client certificate."""
    from serving.model_server.config_protos import SSLConfig

    server, client, authority = issue("localhost"), issue("client"), issue("authority")

    def connect(client_verify: bool, show_certificate: bool) -> grpc.Channel:
        config = SSLConfig(
            server_key=server.key.decode(),
            server_cert=server.certificate.decode(),
            custom_ca=authority.certificate.decode(),
            client_verify=client_verify,
        )
        path = tmp_path / f"tls-{client_verify}-{show_certificate}.sock"
        start(socket_path=str(path), ssl_config=config)
        credentials = grpc.ssl_channel_credentials(
            authority.certificate,
            client.key if show_certificate else None,
            client.certificate if show_certificate else None,
        )
        return grpc.secure_channel(
            f"unix:{path}", credentials, [("grpc.ssl_target_name_override", "localhost")]
        )

    return connect


@pytest.mark.parametrize(
    ("client_verify", "show_certificate"), [(False, False), (False, True), (True, True)]
)
def test_tls_serves_clients_that_are_trusted(
    secure: Callable[..., grpc.Channel], client_verify: bool, show_certificate: bool
) -> None:
    with secure(client_verify, show_certificate) as channel:
        assert echo(channel) == b"hello"


def test_mutual_tls_refuses_a_client_without_certificate(
    secure: Callable[..., grpc.Channel],
) -> None:
    with secure(True, False) as channel, pytest.raises(grpc.RpcError) as refusal:
        echo(channel, timeout=5)
    assert refusal.value.code() in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )


def test_keys_that_are_no_keys_are_refused(start: StartGrpc, tmp_path: Path) -> None:
    from serving.model_server.config_protos import SSLConfig

    config = SSLConfig(server_key="no key", server_cert="no certificate")
    with pytest.raises(ServingError, match=r"ssl_config_file|Failed to BuildAndStart"):
        start(socket_path=str(tmp_path / "bad.sock"), ssl_config=config)
