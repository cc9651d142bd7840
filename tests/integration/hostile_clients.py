"""Clients that mean harm, or are as careless as if they did.

Each function is one kind: it takes an arena (`chaos.Arena`), does its worst to the arena's server
for a few seconds at most, and raises if an answer is not what such a client must get. None knows
how the server is made.
"""

import contextlib
import functools
import gzip
import json
import socket
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import requests
from google.protobuf import text_format

from tests.integration.chaos import MODEL, Arena, Disturbance, good_config

PATH = f"/v1/models/{MODEL}:predict"
BODY = b'{"instances": [1.0, 2.0]}'
ANSWER = {"predictions": [2.5, 3.0]}
PATIENCE_SECONDS = 60
LINGER_SECONDS = 2.0

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# What a client's mistake may be answered with, or what a server that has enough to do may say.
REFUSALS = {400, 404, 408, 413, 429, 503, 504}


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)


@contextlib.contextmanager
def connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(port)) for _ in range(count)]


def head(length: int | None, *headers: str, path: str = PATH) -> bytes:
    """The head of a POST; without a length, its body is chunked."""
    body = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"POST {path} HTTP/1.1", "Host: x", body, *headers, "", ""]
    return "\r\n".join(lines).encode()


def chunks(body: bytes, size: int = 1) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def everything_from(client: socket.socket) -> bytes:
    """What comes until the connection ends, which it must do before the client loses patience."""
    with contextlib.suppress(ConnectionError):
        return b"".join(iter(functools.partial(client.recv, 65536), b""))
    return b""


def expect_ending(port: int, sent: bytes, half_close: bool = False) -> bytes:
    """Sends, and returns what comes until the server ends the connection."""
    with connect(port) as client:
        with contextlib.suppress(ConnectionError):
            client.sendall(sent)
            if half_close:
                client.shutdown(socket.SHUT_WR)
        return everything_from(client)


def expect_answer(port: int, sent: bytes) -> None:
    """Sends a request with `Connection: close` that is sound in its way: it is answered."""
    answer = expect_ending(port, sent)
    status = int(answer.split(b" ", 2)[1])
    if status not in (408, 503, 504):  # the server may have too much to do
        assert status == 200, answer[:500]
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == ANSWER


def expect_refusal(answer: bytes, statuses: set[int]) -> None:
    """An answer cut off by a reset is one as well: the client was still sending."""
    assert not answer or int(answer.split(b" ", 2)[1]) in statuses, answer[:500]


def break_off(client: socket.socket) -> None:
    """Ends a connection by a reset, as a process that dies does."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def silent(arena: Arena) -> None:
    """Connections that say nothing, or stop in the middle of a head."""
    ports = (arena.server.rest_port, arena.server.port)
    with connections(ports[0], 40) as rest, connections(ports[1], 10):
        for number, client in enumerate(rest):
            client.sendall(head(10)[: number % 20])
        arena.stopping.wait(LINGER_SECONDS)


def slow(arena: Arena) -> None:
    """Some send byte by byte, some ask for large answers and read them byte by byte."""
    port = arena.server.rest_port
    large = json.dumps({"instances": [0.5] * 100_000}).encode()
    with connections(port, 10) as writers, connections(port, 5) as readers:
        for client in readers:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(head(len(large)) + large)
        for byte in head(100):
            for client in writers:
                client.sendall(bytes([byte]))
            for client in readers:
                client.recv(1)
            if arena.stopping.wait(0.02):
                return


def huge(arena: Arena) -> None:
    """Bodies of gigabytes announced and sent, and heads without an end."""
    port = arena.server.rest_port
    asked = expect_ending(port, head(10 << 30, "Expect: 100-continue"))
    assert asked.startswith(b"HTTP/1.1 413 "), asked[:100]
    expect_refusal(expect_ending(port, head(10 << 30) + bytes(1 << 20)), {413})
    with connect(port) as client, contextlib.suppress(ConnectionError):
        client.sendall(head(None))
        piece = chunks(b"1" * (1 << 20), 1 << 20)[:-5]
        for _ in range(300):
            client.sendall(piece)
    expect_refusal(expect_ending(port, head(0, "X: " + "x" * (1 << 20))), {400})
    expect_refusal(expect_ending(port, head(0, *["a: b"] * 10_000)), {400})


def single_byte_chunks(arena: Arena) -> None:
    """A sound request in chunks of one byte, and a large one of which no end comes."""
    port = arena.server.rest_port
    expect_answer(port, head(None, "Connection: close") + chunks(BODY))
    with connect(port) as client, contextlib.suppress(ConnectionError):
        client.sendall(head(None) + chunks(b" " * 500_000)[:-5])
        arena.stopping.wait(0.5)


@functools.cache
def bomb(text: bytes) -> bytes:
    return gzip.compress(text * (100 * 1024 * 1024 // len(text)))


def gzip_bombs(arena: Arena) -> None:
    """100 kilobytes that are 100 megabytes of JSON once unpacked: numbers, brackets, blanks."""
    for text in (b"0e0,", b"[", b" ", b'{"":', b"\\n"):
        sent = bomb(text)
        answer = requests.post(
            arena.server.url + PATH,
            data=sent,
            headers={"Content-Encoding": "gzip"},
            timeout=PATIENCE_SECONDS,
        )
        assert answer.status_code in REFUSALS, (text, answer.status_code, answer.text[:200])


def decompression_bombs(arena: Arena) -> None:
    """Bombs packed twice, in many parts or without an end, and compressed gRPC messages."""
    parts = gzip.compress(bytes(1 << 20)) * 200
    endless = zlib.compressobj(wbits=31)
    cut_off = endless.compress(bytes(50 << 20)) + endless.flush(zlib.Z_SYNC_FLUSH)
    for sent in (gzip.compress(bomb(b"[")), parts, cut_off):
        answer = requests.post(
            arena.server.url + PATH,
            data=sent,
            headers={"Content-Encoding": "gzip"},
            timeout=PATIENCE_SECONDS,
        )
        assert answer.status_code in REFUSALS, answer.text[:200]
    with channel(arena) as open_channel:
        predict = open_channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        with contextlib.suppress(grpc.RpcError):
            compression = grpc.Compression.Gzip
            predict(bytes(16 << 20), timeout=PATIENCE_SECONDS, compression=compression)


def half_closed(arena: Arena) -> None:
    """Clients that have sent all they will, the request or a part of it, and wait."""
    port = arena.server.rest_port
    whole = head(len(BODY)) + BODY
    answer = expect_ending(port, whole, half_close=True)
    expect_refusal(answer, {200, 503, 504})
    for end in (0, 1, 20, len(whole) - 1):
        expect_refusal(expect_ending(port, whole[:end], half_close=True), {400, 408, 503})


def pipelined(arena: Arena) -> None:
    """Thousands of requests at once whose answers nobody reads; others are all answered."""
    port, whole = arena.server.rest_port, head(len(BODY)) + BODY
    with connect(port) as client:
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError, ConnectionError):
            for _ in range(100):
                client.send(whole * 1000)
        arena.stopping.wait(0.5)
    count = 200
    last = head(len(BODY), "Connection: close") + BODY
    answer = expect_ending(port, whole * (count - 1) + last)
    if b" 503 " not in answer and b" 504 " not in answer:
        assert answer.count(b"HTTP/1.1 200 OK") == count, answer[-500:]


def upgrade(arena: Arena) -> None:
    """Offers of other protocols: the request behind them is answered as if there were none."""
    port = arena.server.rest_port
    offers = (
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
        ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"),
    )
    for offer in offers:
        expect_answer(port, head(len(BODY), *offer) + BODY)
        expect_answer(port, head(None, *offer) + chunks(BODY, 3))
    expect_refusal(expect_ending(port, b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"), {400, 501, 503})


def malformed_http2(arena: Arena) -> None:
    """Frames that are none, to both ports."""
    source = arena.random
    frames = [
        source.randbytes(200),
        struct.pack(">IBBI", 0xFFFFFF, 0, 0, 1)[1:] + source.randbytes(100),  # DATA, no HEADERS
        b"\x00\x00\x04\x01\x05\x00\x00\x00\x01" + source.randbytes(4),  # HEADERS, broken HPACK
        b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" * 1000,  # SETTINGS
        b"\x00\x00\x08\x06\x00\x00\x00\x00\x00" + bytes(8),  # PING
        b"\x00\x00\x04\x03\x00\x00\x00\x00\x01" + bytes(4),  # RST_STREAM of none
    ]
    for port in (arena.server.port, arena.server.rest_port):
        for frame in frames:
            with connect(port) as client, contextlib.suppress(ConnectionError):
                client.sendall(HTTP2_PREFACE + frame)
                client.settimeout(0.1)
                with contextlib.suppress(TimeoutError):
                    client.recv(65536)


def cancelled(arena: Arena) -> None:
    """Calls taken back, and connections broken off in the middle of a request or an answer."""
    large = json.dumps({"instances": [0.5] * 20_000}).encode()
    for _ in range(20):
        client = connect(arena.server.rest_port)
        with contextlib.suppress(ConnectionError):
            client.sendall((head(len(large)) + large)[: arena.random.randrange(len(large))])
        break_off(client)
        client = connect(arena.server.rest_port)
        client.sendall(head(len(large)) + large)
        break_off(client)
    with channel(arena) as open_channel:
        for _ in range(10):
            calls = [_predict(open_channel, timeout=PATIENCE_SECONDS) for _ in range(5)]
            for call in calls:
                call.cancel()


def expired(arena: Arena) -> None:
    """Calls whose deadline has passed, or passes at once."""
    with channel(arena) as open_channel:
        for number in range(50):
            call = _predict(open_channel, timeout=number / 10_000)
            code = call.code()
            assert code in {
                grpc.StatusCode.OK,
                grpc.StatusCode.DEADLINE_EXCEEDED,
                grpc.StatusCode.CANCELLED,  # by a server that noticed first
                grpc.StatusCode.RESOURCE_EXHAUSTED,
            }, code


def flooding_names(arena: Arena) -> None:
    """Models that nobody serves, a new name each time, and names as long as they come."""
    with requests.Session() as session, channel(arena) as open_channel:
        for number in range(300):
            name = f"invented-{number}-{arena.random.randrange(1 << 40)}"
            url = f"{arena.server.url}/v1/models/{name}"
            for method, end in (("POST", ":predict"), ("GET", ""), ("GET", "/metadata")):
                answer = session.request(method, url + end, data=BODY, timeout=PATIENCE_SECONDS)
                assert answer.status_code in (404, 503), answer.text
            if number % 10 == 0:
                call = _predict(open_channel, name=name, timeout=PATIENCE_SECONDS)
                assert call.code() in {
                    grpc.StatusCode.NOT_FOUND,
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                }, call.code()


def flooding_labels(arena: Arena) -> None:
    """Version labels, versions and signatures that do not exist."""
    with requests.Session() as session:
        for _ in range(200):
            invented = arena.random.randrange(1 << 60)
            for where in (f"/labels/l{invented}", f"/versions/{invented}"):
                url = f"{arena.server.url}/v1/models/{MODEL}{where}:predict"
                answer = session.post(url, data=BODY, timeout=PATIENCE_SECONDS)
                assert answer.status_code in (400, 404, 503), answer.text
            body = {"signature_name": f"s{invented}", "instances": [1.0]}
            answer = session.post(arena.server.url + PATH, json=body, timeout=PATIENCE_SECONDS)
            assert answer.status_code in (400, 503), answer.text


def reflection_streams(arena: Arena) -> None:
    """Streams that are opened and say nothing."""
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    with channel(arena) as open_channel:
        opened = [open_channel.stream_stream(path)(_nothing(arena)) for _ in range(50)]
        arena.stopping.wait(LINGER_SECONDS)
        for stream in opened:
            stream.cancel()


def concurrent_reloads(arena: Arena) -> None:
    """The same config again and again, among others that are refused."""
    from tensorflow_serving.apis import model_management_pb2

    def reload(config: str) -> None:
        request = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(config, request.config)
        with channel(arena) as open_channel, contextlib.suppress(grpc.RpcError):
            open_channel.unary_unary(
                "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
                model_management_pb2.ReloadConfigRequest.SerializeToString,
            )(request, timeout=PATIENCE_SECONDS)

    good = good_config(arena.base_path)
    bad = good_config(arena.base_path, 'config { name: "x" base_path: "/nowhere" }')
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(reload, [good, bad] * 8))


HOSTILE_CLIENTS: list[Disturbance] = [
    silent,
    slow,
    huge,
    single_byte_chunks,
    gzip_bombs,
    decompression_bombs,
    half_closed,
    pipelined,
    upgrade,
    malformed_http2,
    cancelled,
    expired,
    flooding_names,
    flooding_labels,
    reflection_streams,
    concurrent_reloads,
]


def slow_writers_of_large_bodies(arena: Arena) -> None:
    """Many bodies of megabytes that are never sent to their end."""
    body = b"[" + b"0.5," * (1 << 21)
    with connections(arena.server.rest_port, 40) as clients:
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.sendall(head(len(body) + 1) + body)
        arena.stopping.wait(LINGER_SECONDS)


def readers_that_never_read(arena: Arena) -> None:
    """Many large answers that nobody reads."""
    body = json.dumps({"instances": [0.123456] * 300_000}).encode()
    with connections(arena.server.rest_port, 40) as clients:
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.sendall(head(len(body)) + body)
        arena.stopping.wait(3 * LINGER_SECONDS)


@contextlib.contextmanager
def channel(arena: Arena) -> Iterator[grpc.Channel]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(arena.server.address, options=options) as open_channel:
        yield open_channel


def _predict(open_channel: grpc.Channel, name: str = MODEL, timeout: float = 10) -> Any:
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(1)
    return open_channel.unary_unary("/tensorflow.serving.PredictionService/Predict").future(
        request.SerializeToString(), timeout=timeout
    )


def _nothing(arena: Arena) -> Iterator[bytes]:
    """Messages of a stream that is kept open and never has one."""
    arena.stopping.wait(2 * LINGER_SECONDS)
    yield from ()
