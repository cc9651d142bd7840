"""What goes wrong behind nginx with a recorder, or with its disk, and what clients feel of it."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
import requests

from serving.edge.nginx import Nginx
from serving.edge.recorder import RecorderSettings
from serving.traffic.reading import newest
from tests.conftest import ROOT
from tests.integration.conftest import free_port
from tests.integration.edge_backend import Backend, backend_running, edge_before
from tests.integration.edge_stage import MODEL, NGINX, Stage, bodies, clients, wait_until

RECORDER_WAIT_SECONDS = 0.2
_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
_CAN_MOUNT = not subprocess.run([*_NAMESPACE, "mount -t tmpfs none /mnt"]).returncode

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(NGINX is None, reason="there is no nginx on this machine"),
]


@pytest.fixture(scope="module")
def backend() -> Iterator[Backend]:
    with backend_running() as backend:
        yield backend


def reads_nothing(connection: socket.socket) -> None:
    time.sleep(30)


def never_answers(connection: socket.socket) -> None:
    while connection.recv(1 << 20):
        pass


def answers_late(connection: socket.socket) -> None:
    while connection.recv(1 << 20):
        time.sleep(2)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def hangs_up(connection: socket.socket) -> None:
    connection.recv(100)


def talks_nonsense(connection: socket.socket) -> None:
    connection.recv(100)
    connection.sendall(b"\0" * 100_000)


Behaviour = Callable[[socket.socket], None]


@contextmanager
def recorder_that(behaves: Behaviour) -> Iterator[int]:
    """Listens as a recorder does; returns its port."""

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            behaves(connection)

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("behaves", "size"),
    [
        (reads_nothing, 2_000_000),
        (never_answers, 200),
        (answers_late, 200),
        (hangs_up, 2_000_000),
        (talks_nonsense, 200),
    ],
)
def test_no_client_feels_a_recorder_that_misbehaves(
    backend: Backend, tmp_path: Path, behaves: Behaviour, size: int
) -> None:
    body, seconds, session = b" " * size, [], requests.Session()
    with (
        recorder_that(behaves) as port,
        edge_before(backend, tmp_path, sample=1.0, recorder=f"127.0.0.1:{port}") as front,
    ):
        for _ in range(30):
            began = time.monotonic()
            assert session.post(front.url, data=body, timeout=60).status_code == 200
            seconds.append(time.monotonic() - began)
    # Each of nginx's two processes finds it out by one request. All the others would wait as long.
    assert median(seconds) < RECORDER_WAIT_SECONDS


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    stage = Stage(tmp_path_factory.mktemp("trouble") / "var")
    stage.push()
    stage.start()
    yield stage
    stage.stop()


@contextmanager
def recorder_on_a_small_disk(settings: RecorderSettings, disk: Path) -> Iterator[Path]:
    """Runs a recorder that sees a disk of 1 MB at `disk`; returns where this process sees that."""
    script = f'mount -t tmpfs -o size=1m none {disk} && exec "$@"'
    command = [sys.executable, "-m", "serving.edge.recorder", *settings.arguments()]
    recorder = subprocess.Popen([*_NAMESPACE, script, "recorder", *command], cwd=ROOT)
    try:
        yield Path(f"/proc/{recorder.pid}/root") / disk.relative_to("/")
    finally:
        recorder.terminate()
        recorder.wait(60)


@pytest.mark.skipif(not _CAN_MOUNT, reason="this user may not mount in a namespace of its own")
def test_a_full_disk_costs_no_request_and_once_there_is_room_it_records(
    stage: Stage, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    settings = RecorderSettings(
        port=free_port(),
        grpc=f"127.0.0.1:{stage.ports['grpc']}",
        model_name=MODEL,
        base=Path(stage.store.storage.base),
        directory=disk / "recorded",
        answer_log=disk / "answers.log",
        max_file_megabytes=8,
        max_megabytes=64,
    )
    edge = stage.edge(tmp_path / "edge", sample=1.0, recorder=f"127.0.0.1:{settings.port}")
    here, nginx = replace(stage, ports=stage.ports | {"edge": edge.port}), Nginx(edge)
    with recorder_on_a_small_disk(settings, disk) as seen:

        def recorded() -> int:
            return len(newest(seen / "recorded", MODEL))

        def is_recorded(more_than: int) -> bool:
            requests.post(here.url(), data=bodies(1)[0]).raise_for_status()
            return recorded() > more_than

        nginx.start()
        try:
            wait_until(lambda: is_recorded(more_than=0))
            with suppress(OSError), (seen / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(1000))
            with clients(here) as answers:
                time.sleep(3)
            full = recorded()
            (seen / "filler").unlink()
            wait_until(lambda: is_recorded(more_than=full))
        finally:
            nginx.stop()
        last = (seen / "answers.log").read_text().splitlines()[-1]
    assert answers.failures == []
    assert full < answers.count
    assert json.loads(last)["label"] == "black"
