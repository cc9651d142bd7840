"""Which server is taken, and that none of them outlives its validation; programs are scripts."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from serving.launch import ownership, selection
from serving.launch.base import Launch, ServerKind, ServerMissingError, free_ports, is_free
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
    deadline = time.monotonic() + 60
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


@pytest.mark.parametrize(
    ("host", "asked_at"),
    [
        ("127.0.0.2", "127.0.0.2"),
        ("0.0.0.0", "127.0.0.1"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("::", "[::1]"),
    ],
)
@pytest.mark.parametrize("kind", [BinaryServer, EmbeddedServer])
def test_a_server_is_asked_where_it_listens(
    install_binary: InstallBinary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[BinaryServer] | type[EmbeddedServer],
    host: str,
    asked_at: str,
) -> None:
    install_binary('echo "$@"')
    server = kind()
    monkeypatch.setattr(server, "command", lambda: ["echo"])

    server.start(tmp_path / "grey", "grey", Launch(host=host))
    wait_until(lambda: not server.is_running())
    server.stop()

    assert server.rest_url.rpartition(":")[0] == f"http://{asked_at}"
    assert server.grpc_address.rpartition(":")[0] == asked_at
    [line] = server.log_tail()
    assert ("--listen_address=" in line) == (kind is EmbeddedServer)


def test_tensorflow_servings_pools_are_sized_by_a_containers_share(
    install_binary: InstallBinary, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_binary("exit 0")
    assert BinaryServer().own_flags("127.0.0.1") == []
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr("serving.launch.process.usable_cpus", lambda: 2)
    assert BinaryServer().own_flags("127.0.0.1") == [
        "--tensorflow_session_parallelism=2",
        "--rest_api_num_threads=8",
        "--grpc_max_threads=8",
    ]


def test_a_port_is_taken_on_the_address_that_is_listened_on() -> None:
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port, "127.0.0.2")
        assert is_free(port, "::1")
    with pytest.raises(OSError):
        free_ports(1, "192.0.2.1")


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


def test_a_mark_does_not_move_with_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    before = ownership.owner_mark()
    now, boot = time.time(), psutil.boot_time()
    monkeypatch.setattr("time.time", lambda: now + 3600)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot + 3600)
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot + 3600)
    monkeypatch.setattr(psutil._pslinux, "BOOT_TIME", boot + 3600, raising=False)

    assert ownership.owner_mark() == before
    assert not ownership.is_orphaned(before)


def test_a_process_with_an_odd_name_has_its_start_read(tmp_path: Path) -> None:
    odd = tmp_path / "a) b (c"
    odd.symlink_to(shutil.which("sleep") or "/bin/sleep")
    process = subprocess.Popen([odd, "100"])
    try:
        wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text().startswith("a)"))
        mine = ownership._start_ticks(os.getpid())
        now = time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")
        assert mine <= ownership._start_ticks(process.pid) <= now
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("change", "orphaned"),
    [
        ({}, False),
        ({1: "1"}, True),  # the process id was used again
        ({2: "11111111-2222-3333-4444-555555555555"}, True),  # before the machine's last start
        ({3: "1"}, False),  # another container's process ids cannot be looked up
        ({4: "another.host"}, False),
        ({2: "11111111-2222-3333-4444-555555555555", 4: "another.host"}, False),
    ],
)
def test_an_owner_is_told_by_boot_and_start(change: dict[int, str], orphaned: bool) -> None:
    parts = ownership.owner_mark().split(".", 4)
    changed = ".".join(change.get(place, part) for place, part in enumerate(parts))
    assert ownership.is_orphaned(changed) is orphaned


@pytest.mark.parametrize("mark", ["", "1", "12.170000000000.host", "a.b.c.d.e", "1.2.3.4"])
def test_a_mark_of_another_form_orphans_nothing(mark: str) -> None:
    assert not ownership.is_orphaned(mark)


def test_a_process_is_removed_only_when_its_validation_is_provably_gone() -> None:
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    mark = ownership.owner_mark().replace(f"{os.getpid()}.", f"{gone.pid}.", 1)
    gone.wait()
    elsewhere = f"{mark}.on.another.host"
    marks = {"orphan": mark, "ours": ownership.owner_mark(), "elsewhere": elsewhere}
    servers = {
        name: subprocess.Popen(["sleep", "100"], env=os.environ | {ownership.OWNER_VARIABLE: value})
        for name, value in marks.items()
    }
    try:
        ownership.remove_orphaned_processes()

        assert servers["orphan"].wait(60) != 0
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
