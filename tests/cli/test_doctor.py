"""`runner.py doctor`: what is judged broken, what only noted, and what to do about it."""

import fcntl
import importlib.metadata
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from cli.app import app
from cli.doctor import accelerators, machine, packages, servers, workdir
from cli.doctor.diagnosis import diagnose
from cli.doctor.finding import Finding, State
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from serving.launch.base import free_ports

ROOT = Path(__file__).parents[2]
LOCK = {
    "package": [
        {
            "name": "project",
            "version": "1",
            "source": {"virtual": "."},
            "dependencies": [
                {"name": "plain"},
                {"name": "elsewhere", "marker": "sys_platform == 'plan9'"},
                {"name": "generous", "extra": ["more"]},
            ],
            "dev-dependencies": {"dev": [{"name": "tool"}]},
        },
        {"name": "plain", "version": "1.0", "source": {}, "wheels": [{}]},
        {"name": "elsewhere", "version": "1.0", "source": {}},
        {
            "name": "generous",
            "version": "2.0",
            "source": {},
            "dependencies": [{"name": "plain"}],
            "optional-dependencies": {"more": [{"name": "further"}]},
        },
        {"name": "further", "version": "3.0", "source": {}, "wheels": [{}]},
        {"name": "tool", "version": "1.0", "source": {}},
    ]
}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(workdir=tmp_path / "var")


def only(findings: list[Finding]) -> Finding:
    [finding] = findings
    return finding


def test_a_sound_checkout_is_healthy_and_the_result_is_one_json_object(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "runner.py", "doctor", "--json", "--workdir", tmp_path],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    result = json.loads(done.stdout)
    assert result["healthy"]
    subjects = {finding["subject"] for finding in result["findings"]}
    assert subjects >= {"Python", "platform", "packages", "model server", "data", "workdir"}


def test_what_is_broken_makes_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "metadata.sqlite").write_text("no database at all, but long enough to be read")
    done = CliRunner().invoke(app, ["doctor", "--workdir", str(tmp_path)])
    assert done.exit_code == 1
    assert "metadata.sqlite is damaged" in done.stdout
    assert "move it away" in done.stdout


def test_a_check_that_fails_is_a_finding_and_stops_no_other(config: Config) -> None:
    def explode(_: Config) -> list[Finding]:
        raise RuntimeError("boom")

    broken, disk = diagnose(config, [explode, machine.disk]).findings
    assert (broken.subject, broken.state) == ("explode", State.BROKEN)
    assert "boom" in broken.text
    assert disk.subject == "disk"


@pytest.mark.parametrize(("version", "state"), [("3.11.7", State.OK), ("3.12.1", State.BROKEN)])
def test_python_is_the_one_of_the_project(version: str, state: State) -> None:
    assert machine.judge_python(version, ">=3.11,<3.12").state is state


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (("Linux", "x86_64", "glibc", "2.36"), State.OK),
        (("Linux", "x86_64", "glibc", "2.17"), State.BROKEN),
        (("Linux", "x86_64", "", ""), State.BROKEN),
        (("Darwin", "arm64", "", ""), State.BROKEN),
    ],
)
def test_the_platform_is_one_that_the_packages_are_built_for(
    facts: tuple[str, str, str, str], state: State
) -> None:
    finding = machine.judge_system(*facts)
    assert finding.state is state
    assert ("container" in finding.advice) == (state is State.BROKEN)


def test_locked_packages_are_those_a_run_needs_here() -> None:
    found = packages.locked_packages(LOCK)
    assert set(found) == {"plain", "generous", "further"}
    assert found["generous"]["version"] == "2.0"


def test_missing_packages_are_broken_and_others_a_warning() -> None:
    wanted = {"numpy": "2.0", "rich": "15"}
    assert packages.judge_packages(wanted, wanted | {"own": "1"}).state is State.OK
    other = packages.judge_packages(wanted, {"numpy": "1.9", "rich": "15"})
    assert other.state is State.WARNING
    assert "numpy 1.9 for 2.0" in other.text
    missing = packages.judge_packages(wanted, {"rich": "15"})
    assert missing.state is State.BROKEN
    assert "numpy" in missing.text
    assert "uv sync" in missing.advice


def test_a_compiler_is_missed_only_while_something_must_be_built() -> None:
    assert packages.judge_compiler(["x"], {"x": "1"}, None).state is State.NOTE
    assert packages.judge_compiler(["x"], {}, None).state is State.BROKEN
    assert packages.judge_compiler(["x"], {}, "/usr/bin/c++").state is State.OK


def machine_with(root: Path, *, devices: int, model: str | None) -> Path:
    (root / "dev").mkdir()
    for number in range(devices):
        (root / "dev" / f"nvidia{number}").touch()
    if model:
        information = root / "proc/driver/nvidia/gpus/0000:1b:00.0/information"
        information.parent.mkdir(parents=True)
        information.write_text(f"Model: \t\t {model}\nIRQ:   \t\t 24\n")
    return root


@pytest.mark.parametrize(
    ("devices", "model", "has_packages", "state", "said"),
    [
        (0, None, False, State.OK, "none: training takes the processors"),
        (2, "NVIDIA H100", True, State.OK, "2 of NVIDIA's (NVIDIA H100): training takes them"),
        (1, "NVIDIA H100", False, State.WARNING, "uv sync --extra cuda"),
        (0, "NVIDIA H100", True, State.WARNING, "docker run --gpus all"),
    ],
)
def test_a_gpu_that_training_could_not_use_is_named_with_what_is_missing(
    devices: int, model: str | None, has_packages: bool, state: State, said: str, tmp_path: Path
) -> None:
    root = machine_with(tmp_path, devices=devices, model=model)
    finding = accelerators.judge_gpus(root, has_packages=has_packages)
    assert finding.state is state
    assert said in finding.text + finding.advice


def test_the_extra_brings_what_tensorflow_asks_for_on_gpus() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [Requirement(text) for text in importlib.metadata.requires("tensorflow") or []]
    of_cuda = {
        (of.name, of.specifier) for of in asked if of.marker and "and-cuda" in str(of.marker)
    }
    extra = map(Requirement, project["optional-dependencies"]["cuda"])
    assert {(of.name, of.specifier) for of in extra} == of_cuda


def test_a_taken_port_is_noted_with_its_holder() -> None:
    import socket

    (free,) = free_ports(1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        noted, rest = machine.judge_ports({taken: "--rest-port", free: "--grpc-port"})
    assert noted.state is State.NOTE
    assert str(os.getpid()) in noted.text
    assert "--rest-port" in noted.advice
    assert str(free) in rest.text


def test_a_server_that_is_asked_for_and_not_there_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setenv("PATH", "/nowhere")
    asked = load_config(workdir=tmp_path, infra_validation__model_server="binary")
    assert servers.servers(asked)[-1].state is State.BROKEN
    auto = servers.servers(load_config(workdir=tmp_path))[-1]
    assert auto.state is State.OK
    assert auto.text.startswith("embedded, because no Docker engine answers")


def test_data_names_the_source_that_would_serve_it(config: Config, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for file in workdir.OFFICIAL_FILES:
        (own / file.name).write_bytes(b"data")
    asked = config.model_copy(update={"data": config.data.model_copy(update={"source": own})})
    finding = only(workdir.data(asked))
    assert finding.state is State.NOTE
    assert f"the folder {own} has it" in finding.text

    shutil.copytree(own, config.data_root / "base")
    corrupt = only(workdir.data(config))
    assert corrupt.state is State.WARNING
    assert "is corrupt" in corrupt.text
    assert only(workdir.data(load_config("smoke"))).state is State.OK


def test_a_run_at_work_is_noted_with_its_process(config: Config) -> None:
    config.workdir.mkdir()
    with (config.workdir / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("4711\n")
        lock.flush()
        finding = only(workdir.workdir(config))
    assert "a run (process 4711) is working" in finding.text
    assert only(workdir.workdir(config)).state is State.OK


def test_sound_metadata_is_told_from_damaged(config: Config) -> None:
    assert "none yet" in only(workdir.metadata(config)).text
    config.workdir.mkdir()
    with sqlite3.connect(config.metadata_path) as database:
        database.execute("CREATE TABLE Type (id INTEGER)")
    database.close()
    assert only(workdir.metadata(config)).state is State.OK
    with config.metadata_path.open("r+b") as file:
        file.write(b"x" * 100)
    assert only(workdir.metadata(config)).state is State.BROKEN


def test_what_a_killed_push_left_is_noted_and_a_live_one_is_not(config: Config) -> None:
    staging = config.serving_dir / ".staging-abc"
    staging.mkdir(parents=True)
    assert str(staging) in only(workdir.leftovers(config)).text
    descriptor = os.open(staging, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert str(staging) not in only(workdir.leftovers(config)).text
    finally:
        os.close(descriptor)


def test_it_imports_no_tensorflow(tmp_path: Path) -> None:
    ask = (
        "import sys\nfrom cli.app import main\n"
        f"sys.argv = ['runner.py', 'doctor', '--workdir', {str(tmp_path)!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'tensorflow', 'tfx', 'apache_beam'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", ask], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("keeps", "compiled", "warned"),
    [(True, False, False), (False, True, False), (False, False, True)],
)
def test_byte_code_that_nobody_keeps_is_named(keeps: bool, compiled: bool, warned: bool) -> None:
    assert bool(packages.judge_byte_code(keeps=keeps, compiled=compiled)) is warned
