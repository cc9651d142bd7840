"""Finding a Docker engine: a real small HTTP server, on TCP or a Unix socket, stands for one."""

import hashlib
import http.server
import json
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.launch import docker as docker_server
from serving.launch import engine as engine_module
from serving.launch import selection
from serving.launch.base import ServerKind, ServerMissingError
from serving.launch.ownership import OWNER_VARIABLE

IMAGE = "tensorflow/serving:2.20.0"
NO_MOUNT = 'invalid mount config for type "bind": bind source path does not exist'


class FakeEngine:
    """Answers as an engine does whose containers see `visible`; notes what it is asked."""

    def __init__(self, visible: Path, has_image: bool = True, network: str | None = None) -> None:
        self.visible = visible
        self.has_image = has_image
        self.network = network
        self.delay = 0.0
        self.asked: list[str] = []

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        path = path.partition("?")[0]
        self.asked.append(f"{method} {path}")
        time.sleep(self.delay)
        if path.endswith("/version"):
            return 200, {"ApiVersion": "1.44"}
        if "/images/" in path:
            return (
                (200, {"Id": "i"})
                if self.has_image
                else (404, {"message": f"No such image: {IMAGE}"})
            )
        if path.endswith("/containers/create"):
            (mount,) = json.loads(body)["HostConfig"]["Mounts"]
            seen = Path(mount["Source"]).is_relative_to(self.visible)
            return (201, {"Id": "c"}) if seen else (400, {"message": NO_MOUNT})
        if method == "GET" and "/containers/" in path:
            if self.network is None:
                return 404, {"message": "no such container"}
            return 200, {"HostConfig": {"NetworkMode": self.network}}
        return 204, None


def handler_of(engine: FakeEngine) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, answer = engine.answer(self.command, self.path, body)
            content = b"" if answer is None else json.dumps(answer).encode()
            try:
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except BrokenPipeError:
                return

        do_GET = do_POST = do_DELETE = handle_one  # noqa: N815

        def address_string(self) -> str:
            return "unix"

        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    return Handler


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@pytest.fixture
def start() -> Iterator[Callable[[FakeEngine, Path | None], str]]:
    servers: list[socketserver.BaseServer] = []

    def start(engine: FakeEngine, path: Path | None = None) -> str:
        handler = handler_of(engine)
        server = (
            UnixServer(str(path), handler)
            if path
            else http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        )
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return f"unix://{path}" if path else f"tcp://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


Start = Callable[..., str]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(engine_module, "_CONTAINER_MARKS", ())
    monkeypatch.setattr(docker_server, "_pull", lambda *_: pytest.fail("auto never pulls"))


def test_auto_takes_an_engine_that_has_the_image_and_sees_the_folder(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", start(engine))

    choice = selection.choose_server(ServerKind.AUTO, IMAGE, tmp_path / "not" / "made" / "yet")

    assert choice.kind is ServerKind.DOCKER
    assert engine.asked[-1] == "DELETE /v1.44/containers/c"
    assert list(tmp_path.iterdir()) == []


def test_auto_passes_over_an_engine_that_has_no_image(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", start(FakeEngine(tmp_path, has_image=False)))

    choice = selection.choose_server(ServerKind.AUTO, IMAGE, tmp_path)

    assert choice.kind is ServerKind.EMBEDDED
    assert f"has no image {IMAGE}" in choice.why


def test_auto_goes_on_where_the_engine_cannot_mount_and_says_so(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", start(FakeEngine(tmp_path / "on the host")))

    choice = selection.choose_server(ServerKind.AUTO, IMAGE, tmp_path)

    assert choice.kind is ServerKind.EMBEDDED
    assert f"the Docker engine cannot mount folders below {tmp_path}" in choice.why
    with pytest.raises(ServerMissingError, match="bind source path does not exist"):
        selection.choose_server(ServerKind.DOCKER, IMAGE, tmp_path)


@pytest.mark.parametrize(
    ("network", "taken"), [("bridge", False), ("compose_default", False), ("host", True)]
)
def test_auto_goes_on_in_a_container_whose_loopback_is_not_the_engines(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, taken: bool
) -> None:
    monkeypatch.setenv("DOCKER_HOST", start(FakeEngine(tmp_path, network=network)))
    monkeypatch.setattr(engine_module, "_CONTAINER_MARKS", (tmp_path,))

    choice = selection.choose_server(ServerKind.AUTO, IMAGE, tmp_path)

    assert (choice.kind is ServerKind.DOCKER) == taken
    assert ("cannot reach on loopback" in choice.why) != taken


def test_an_engine_that_is_slow_is_not_silently_none(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(tmp_path)
    engine.delay = 3.0
    monkeypatch.setenv("DOCKER_HOST", start(engine))
    monkeypatch.setattr(docker_server, "_PATIENCE_SECONDS", 1)

    choice = selection.choose_server(ServerKind.AUTO, IMAGE, tmp_path)

    assert choice.kind is ServerKind.EMBEDDED
    assert "did not answer within 1 s (--model-server docker waits longer)" in choice.why


def test_an_engine_on_loopback_is_asked_without_a_proxy(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", start(FakeEngine(tmp_path)))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    choice = selection.choose_server(ServerKind.AUTO, IMAGE, tmp_path)

    assert choice.kind is ServerKind.DOCKER


def write_context(config: Path, name: str, host: str, current: bool) -> None:
    meta = config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(
        json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints})
    )
    (config / "config.json").write_text(json.dumps({"currentContext": name} if current else {}))


@pytest.mark.parametrize("by", ["docker context use", "DOCKER_CONTEXT"])
def test_the_current_docker_context_is_followed(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    host = start(FakeEngine(tmp_path), tmp_path / "colima.sock")
    write_context(tmp_path / "docker", "colima", host, by == "docker context use")
    if by == "DOCKER_CONTEXT":
        monkeypatch.setenv("DOCKER_CONTEXT", "colima")

    choice = selection.choose_server(ServerKind.AUTO, IMAGE, tmp_path)

    assert choice.kind is ServerKind.DOCKER


def test_a_damaged_context_is_a_reason_not_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_context(tmp_path / "docker", "broken", "", True)
    next((tmp_path / "docker").rglob("meta.json")).write_text("{")

    choice = selection.choose_server(ServerKind.AUTO, IMAGE, tmp_path)

    assert choice.kind is ServerKind.EMBEDDED
    assert "no Docker engine can be used" in choice.why


@pytest.mark.parametrize("engine_is_there", [True, False])
def test_a_plain_no_of_the_default_engine_costs_no_import(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine_is_there: bool
) -> None:
    place = tmp_path / "docker.sock"
    monkeypatch.setattr(engine_module, "_DEFAULT_SOCKET", place)
    monkeypatch.setitem(sys.modules, "docker", None)
    if engine_is_there:
        start(FakeEngine(tmp_path, has_image=False), place)

    choice = selection.choose_server(ServerKind.AUTO, IMAGE)

    assert choice.kind is ServerKind.EMBEDDED
    assert ("has no image" if engine_is_there else f"there is no {place}") in choice.why


def test_an_engine_that_is_named_is_not_the_default_one(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_DEFAULT_SOCKET", tmp_path / "none")
    monkeypatch.setenv("DOCKER_HOST", start(FakeEngine(tmp_path)))
    assert selection.choose_server(ServerKind.AUTO, IMAGE).kind is ServerKind.DOCKER


def test_the_default_engine_is_taken_where_it_has_the_image(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "docker.sock"
    start(FakeEngine(tmp_path), place)
    monkeypatch.setattr(engine_module, "_DEFAULT_SOCKET", place)
    assert engine_module.plain_no(IMAGE, 5) is None


def test_a_user_without_a_home_has_configured_no_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nobody: None
) -> None:
    monkeypatch.delenv("DOCKER_CONFIG")
    monkeypatch.setattr(engine_module, "_DEFAULT_SOCKET", tmp_path / "none")
    choice = selection.choose_server(ServerKind.AUTO, IMAGE)
    assert choice.kind is ServerKind.EMBEDDED
    assert "there is no" in choice.why


PORTS = ("8500/tcp", "8501/tcp")


class EngineOfOne(FakeEngine):
    """Has one container, once it was created and until it is removed, that may not start.

    An orphan is there besides, if it has a `mark`: it is listed, and gone a moment later.
    """

    starts = True
    is_there = True
    mark = ""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        found = super().answer(method, path, body)
        if self.asked[-1].endswith("/containers/json"):
            return 200, [{"Id": each} for each in ("gone", "orphan") if self.mark]
        if "/containers/gone" in path:
            return 404, {"message": "No such container: gone"}
        if "/containers/orphan" in path:
            labels = {"Labels": {OWNER_VARIABLE: self.mark}}
            if method == "DELETE":
                return 409, {"message": "removal of container orphan is already in progress"}
            return 200, {"Id": "orphan", "Config": labels}
        if self.asked[-1].endswith("/start"):
            return found if self.starts else (500, {"message": "port is already allocated"})
        if method == "GET" and "/containers/" in path and self.is_there:
            ports = {port: [{"HostIp": "127.0.0.1", "HostPort": "1"}] for port in PORTS}
            state = {"Status": "running"}
            return 200, {"Id": "c", "State": state, "NetworkSettings": {"Ports": ports}}
        return found


@pytest.fixture
def engine_of_one(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineOfOne:
    engine = EngineOfOne(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", start(engine))
    return engine


def test_a_container_that_cannot_be_started_is_not_left_behind(
    engine_of_one: EngineOfOne, tmp_path: Path
) -> None:
    engine_of_one.starts = False
    server = docker_server.DockerServer(IMAGE, asked_for=False)
    with pytest.raises(ServerMissingError, match="port is already allocated"):
        server.start(tmp_path, "grey")
    server.stop()
    assert engine_of_one.asked[-1] == "DELETE /v1.44/containers/c"


def test_a_container_that_somebody_removed_is_one_that_has_ended(
    engine_of_one: EngineOfOne, tmp_path: Path
) -> None:
    server = docker_server.DockerServer(IMAGE, asked_for=False)
    server.start(tmp_path, "grey")
    assert server.is_running()
    engine_of_one.is_there = False
    assert not server.is_running()
    assert server.log_tail() == []
    server.stop()


def test_what_others_remove_meanwhile_is_in_the_way_of_no_start(
    engine_of_one: EngineOfOne, tmp_path: Path
) -> None:
    engine_of_one.mark = f"1.1.another boot.1.{socket.gethostname()}"
    server = docker_server.DockerServer(IMAGE, asked_for=False)
    server.start(tmp_path, "grey")
    assert "DELETE /v1.44/containers/orphan" in engine_of_one.asked
    assert server.is_running()
    server.stop()
