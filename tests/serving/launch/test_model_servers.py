"""Which server is taken, and that none of them outlives its validation; programs are scripts."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from serving.launch import docker as docker_server
from serving.launch import ownership, selection
from serving.launch.base import ServerKind, ServerMissingError, free_ports, is_free
from serving.launch.process import BinaryServer, EmbeddedServer

InstallBinary = Callable[[str], Path]


@pytest.fixture
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")


@pytest.fixture
def install_binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> InstallBinary:
    def install(script: str) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / "tensorflow_model_server"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        return program

    return install


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


@pytest.mark.usefixtures("no_docker")
def test_auto_takes_the_embedded_server_where_there_is_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    choice = selection.choose_server(ServerKind.AUTO, "tensorflow/serving:2.20.0")

    assert choice.kind is ServerKind.EMBEDDED
    assert "no Docker engine answers" in choice.why
    assert "tensorflow_model_server is not on PATH" in choice.why


@pytest.mark.usefixtures("no_docker")
def test_auto_prefers_the_binary_to_the_embedded_server(install_binary: InstallBinary) -> None:
    program = install_binary("exit 0")

    choice = selection.choose_server(ServerKind.AUTO, "tensorflow/serving:2.20.0")

    assert choice.kind is ServerKind.BINARY
    assert str(program) in choice.server.description


def test_auto_passes_over_an_engine_that_answers_but_has_no_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import docker
    from docker.errors import ImageNotFound

    class Engine:
        def __init__(self) -> None:
            self.images = self

        def ping(self) -> bool:
            return True

        def get(self, image: str) -> None:
            raise ImageNotFound(image)

        def close(self) -> None: ...

    monkeypatch.setattr(docker, "from_env", lambda **_: Engine())
    monkeypatch.setattr(docker_server, "_pull", lambda image: pytest.fail("auto never pulls"))

    choice = selection.choose_server(ServerKind.AUTO, "tensorflow/serving:2.20.0")

    assert choice.kind is not ServerKind.DOCKER
    assert "has no image tensorflow/serving:2.20.0" in choice.why


@pytest.mark.usefixtures("no_docker")
@pytest.mark.parametrize(
    ("kind", "says"),
    [(ServerKind.DOCKER, "no Docker engine answers"), (ServerKind.BINARY, "is not on PATH")],
)
def test_a_server_that_was_asked_for_and_is_not_there_is_an_error(
    kind: ServerKind, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(ServerMissingError, match=says):
        selection.choose_server(kind, "tensorflow/serving:2.20.0")


def test_a_program_gets_tensorflow_servings_flags_and_its_output_is_kept(
    install_binary: InstallBinary, tmp_path: Path
) -> None:
    install_binary('echo "$@"')
    server = BinaryServer()

    server.start(tmp_path / "grey", "grey")
    wait_until(lambda: not server.is_running())
    server.stop()

    [line] = server.log_tail()
    port = server.grpc_address.rpartition(":")[2]
    assert f"--port={port} --rest_api_port=" in line
    assert f"--model_name=grey --model_base_path={tmp_path / 'grey'}" in line
    assert "--max_num_load_retries=0" in line


def test_stopping_ends_a_program_that_ignores_sigterm(
    install_binary: InstallBinary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.launch.process._STOP_SECONDS", 0.1)
    install_binary("trap '' TERM; echo up; while :; do sleep 0.05; done")
    server = BinaryServer()
    server.start(tmp_path / "grey", "grey")
    wait_until(lambda: server.log_tail() == ["up"])

    server.stop()

    assert not server.is_running()


_START_AND_WAIT = """
import sys, time
from pathlib import Path
from serving.launch.process import BinaryServer
server = BinaryServer()
server.start(Path(sys.argv[1]), "grey")
print(server._process.pid, flush=True)
time.sleep(100)
"""


def test_a_server_dies_with_a_killed_parent(install_binary: InstallBinary, tmp_path: Path) -> None:
    install_binary("exec sleep 100")
    parent = subprocess.Popen(
        [sys.executable, "-c", _START_AND_WAIT, str(tmp_path / "grey")], stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    server_pid = int(parent.stdout.readline())
    assert is_alive(server_pid)

    parent.kill()
    parent.wait()

    wait_until(lambda: not is_alive(server_pid))


def test_a_process_is_removed_only_when_its_validation_is_provably_gone() -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    mark = ownership.owner_mark().replace(f"{os.getpid()}.", f"{gone.pid}.", 1)
    gone.wait()
    elsewhere = f"{mark}.another.host"
    marks = {"orphan": mark, "ours": ownership.owner_mark(), "elsewhere": elsewhere}
    servers = {
        name: subprocess.Popen(["sleep", "100"], env=os.environ | {ownership.OWNER_VARIABLE: value})
        for name, value in marks.items()
    }
    try:
        ownership.remove_orphaned_processes()

        assert servers["orphan"].wait(20) != 0
        assert servers["ours"].poll() is None
        assert servers["elsewhere"].poll() is None
    finally:
        for server in servers.values():
            server.kill()
            server.wait()


def test_the_folder_of_a_dead_validation_is_removed_by_the_next_one(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    mark = ownership.owner_mark().replace(f"{os.getpid()}.", f"{gone.pid}.", 1)
    (tmp_path / f"infra-validator-{mark}-abc").mkdir()
    (tmp_path / "something else").mkdir()

    with ownership.work_folder(tmp_path) as folder:
        assert sorted(tmp_path.iterdir()) == sorted([folder, tmp_path / "something else"])
    assert list(tmp_path.iterdir()) == [tmp_path / "something else"]


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(4)

    assert len(set(ports)) == 4
    assert all(is_free(port) for port in ports)


def test_the_embedded_server_finds_its_package_wherever_it_is_run() -> None:
    path = EmbeddedServer().environment()["PYTHONPATH"].split(os.pathsep)[0]

    assert (Path(path) / "serving" / "model_server" / "__main__.py").exists()
