"""Metadata on a real PostgreSQL server, from Debian's package, with a password."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2

from pipeline.metadata_connection import connection_config
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT
from runs.exit_status import Status
from runs.metadata_store import StoredMetadata
from runs.result import RunResult

PASSWORD = "sesame"
_RECORDED = {"status", "accuracy", "started_at", "finished_at"}


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return found[-1].parent if found else None


@pytest.fixture(scope="module")
def as_server_user() -> list[str]:
    """Prefix of commands: PostgreSQL does not run as root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("as root, setpriv is needed to start PostgreSQL as the user postgres")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


@pytest.fixture(scope="module")
def port(as_server_user: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The loopback port of a server of its own, whose user `runs` must give a password."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (apt-get install postgresql)")
    folder = tmp_path_factory.mktemp("postgresql")
    (folder / "password").write_text(PASSWORD)
    if as_server_user:
        # Neither may the server's user enter pytest's folders.
        folder = Path(shutil.copytree(folder, f"/tmp/postgresql-{os.getpid()}"))
        shutil.chown(folder, "postgres")
        (folder / "password").chmod(0o644)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]

    def run(program: str, *arguments: str) -> None:
        command = [*as_server_user, programs / program, "-D", folder / "data", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)

    run("initdb", "-A", "scram-sha-256", "-U", "runs", f"--pwfile={folder / 'password'}")
    options = f"-p {free} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
    run("pg_ctl", "-w", "-l", str(folder / "log"), "-o", options, "start")
    try:
        yield free
    finally:
        run("pg_ctl", "-w", "-m", "immediate", "stop")
        if as_server_user:
            shutil.rmtree(folder)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(port: int) -> Iterator[Start]:
    """Starts a command of the project that finds the password in its environment."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env=os.environ | {"PGPASSWORD": PASSWORD},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def settings(port: int, database: str) -> list[str]:
    values = {"host": "'127.0.0.1'", "port": port, "user": "'runs'", "database": f"'{database}'"}
    return [f"--set=metadata.{name}={value}" for name, value in values.items()]


@pytest.mark.integration
def test_two_nodes_start_at_once_on_a_server_without_a_database(
    start: Start, port: int, tmp_path: Path
) -> None:
    compiled = start(
        *("runner.py", "compile", "airflow", "--preset=smoke", f"--workdir={tmp_path / 'var'}"),
        *(f"--output={tmp_path}", *settings(port, "nodes")),
    )
    assert compiled.wait() == 0
    ir = tmp_path / "fashion_mnist.ir.json"
    assert PASSWORD not in ir.read_text()
    node = ("-m", "orchestration.node", ir, "monday")
    running = [start(*node, node_id) for node_id in ("ServedModel", "ImportSchemaGen")]
    said = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert not (tmp_path / "var" / "metadata.sqlite").exists()


@pytest.mark.integration
@pytest.mark.parametrize("text", ['{"nested": "{\\"a\\": 1}"}', "it's", "\\"])
def test_texts_come_back_as_they_went(
    text: str, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    config = load_config(overrides=[s.removeprefix("--set=") for s in settings(port, "texts")])
    execution = metadata_store_pb2.Execution()
    execution.custom_properties["text"].string_value = text
    with StoredMetadata(connection_config(config)) as handle:
        kind = metadata_store_pb2.ExecutionType(name="tested")
        execution.type_id = handle.store.put_execution_type(kind)
        [read] = handle.store.get_executions_by_id(handle.store.put_executions([execution]))
    assert read.custom_properties["text"].string_value == text


@pytest.mark.soak
def test_two_runs_at_once_both_succeed(
    start: Start,
    port: int,
    tmp_path: Path,
    record_result: Callable[[str, dict[str, object]], None],
) -> None:
    arguments = ("runner.py", "--preset=smoke", "--model-server=embedded", "--json")
    running = [
        start(*arguments, f"--workdir={tmp_path / name}", *settings(port, "runs"))
        for name in ("one", "other")
    ]
    said = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    runs = [RunResult.model_validate_json(output) for output, _ in said]
    assert [run.status for run in runs] == [Status.PUSHED, Status.PUSHED]
    record_result(
        "metadata_postgresql",
        {"runs": [json.loads(run.model_dump_json(include=_RECORDED)) for run in runs]},
    )
