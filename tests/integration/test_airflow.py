"""The DAG on a real Airflow 3, in an environment of its own, on the smoke preset."""

import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest

from pipeline.settings.paths import ROOT
from runs.exit_status import Status
from runs.result import RunResult, results
from tests.conftest import SmokeRun
from tests.integration.conftest import free_port

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

AIRFLOW = "apache-airflow==3.3.2"
DAG = "fashion-mnist"
RecordResult = Callable[[str, dict[str, object]], None]


@dataclass(frozen=True)
class Airflow:
    """An Airflow with its own home, and the DAG in it.

    Attributes:
        program: the command `airflow`.
        home: its home, with its database, logs and DAGs.
        workdir: the project's, for which the DAG was compiled.
        environment: of every one of its processes.
        first_day: the day of span 1: its run is backfilled, the next day's is scheduled.
    """

    program: Path
    home: Path
    workdir: Path
    environment: dict[str, str]
    first_day: datetime

    def compile(self, *settings: str) -> None:
        """Writes the DAG for the smoke preset with further settings."""
        self.settings_file.write_text("[schedule]\nretry_delay_seconds = 1\n")
        command = [sys.executable, "runner.py", "compile", "airflow", "--preset=smoke"]
        command += [f"--config={self.settings_file}"]
        command += [f"--output={self.home / 'dags'}", f"--workdir={self.workdir}"]
        command += ["--model-server=embedded", "--set=schedule.cron='0 0 * * *'"]
        command += [f"--set=schedule.start='{self.first_day:%Y-%m-%d}'"]
        command += [f"--set={setting}" for setting in settings]
        subprocess.run(command, cwd=ROOT, check=True)

    @property
    def settings_file(self) -> Path:
        """The file that the DAG's settings are read from."""
        return self.home / "production.toml"

    def run(self, *arguments: str, succeeds: bool = True) -> str:
        """Runs `airflow` with these arguments and returns what it printed."""
        done = subprocess.run(
            [self.program, *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert (done.returncode == 0) or not succeeds, done.stdout
        return done.stdout

    def query(self, sql: str, *values: str) -> list[tuple[str, ...]]:
        """Returns what Airflow's database answers."""
        path = f"file:{self.home / 'airflow.db'}?mode=ro"
        with closing(sqlite3.connect(path, uri=True)) as database:
            return database.execute(sql, values).fetchall()

    def runs(self) -> dict[str, tuple[str, str]]:
        """Returns each DAG run's type and state by its id."""
        rows = self.query("SELECT run_id, run_type, state FROM dag_run")
        return {run_id: (run_type, state) for run_id, run_type, state in rows}

    def task_states(self, run_id: str) -> dict[str, str]:
        """Returns the state of each task of a DAG run."""
        rows = self.query("SELECT task_id, state FROM task_instance WHERE run_id = ?", run_id)
        return dict(rows)

    def result(self, run_id: str) -> RunResult:
        """Returns what the DAG's last task wrote about a run."""
        (found,) = (r for r in results(self.workdir / "runs") if r.run_id == run_id)
        return found

    def log_of(self, run_id: str, task_id: str) -> str:
        """Returns the log of a task's attempts."""
        folder = self.home / "logs" / f"dag_id={DAG}" / f"run_id={run_id}" / f"task_id={task_id}"
        return "".join(path.read_text() for path in sorted(folder.glob("*.log")))


@pytest.fixture(scope="module")
def program() -> Path:
    """Airflow's command, from an environment that is made once and kept among temporary files."""
    environment = Path(tempfile.gettempdir()) / AIRFLOW.replace("==", "-")
    if not (environment / "bin" / "airflow").exists():
        subprocess.run(["uv", "venv", "--clear", "--python", "3.11", environment], check=True)
        python = environment / "bin" / "python"
        subprocess.run(["uv", "pip", "install", "--python", python, AIRFLOW], check=True)
    return environment / "bin" / "airflow"


@pytest.fixture(scope="module")
def airflow(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    home, workdir = tmp_path_factory.mktemp("airflow"), tmp_path_factory.mktemp("workdir")
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first_day = midnight - timedelta(days=2)
    made = Airflow(program, home, workdir, _environment(program, home), first_day)
    made.compile()
    made.run("db", "migrate")
    made.run("dags", "reserialize")
    return made


def _environment(program: Path, home: Path) -> dict[str, str]:
    port = free_port()
    settings = {
        "CORE__DAGS_FOLDER": home / "dags",
        "CORE__LOAD_EXAMPLES": False,
        "CORE__PARALLELISM": 2,
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": True,
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "API__HOST": "127.0.0.1",
        "API__PORT": port,
        "API__WORKERS": 1,
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "LOGGING__WORKER_LOG_SERVER_PORT": free_port(),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": free_port(),
    }
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    named = {f"AIRFLOW__{name}": str(value) for name, value in settings.items()}
    return os.environ | named | {"AIRFLOW_HOME": str(home), "PATH": path}


@contextmanager
def standalone(airflow: Airflow) -> Iterator[None]:
    """Runs scheduler, DAG processor and API server; stops them with all that they started."""
    with (airflow.home / "standalone.log").open("w") as log:
        process = subprocess.Popen(
            [airflow.program, "standalone"],
            env=airflow.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        # Tasks run in sessions of their own, which the group's signal does not reach.
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGTERM)
        _, alive = psutil.wait_procs(family, timeout=30)
        for child in alive:
            child.kill()
        process.kill()
        process.wait()


def test_the_dag_is_imported_without_errors(airflow: Airflow) -> None:
    assert "No data found" in airflow.run("dags", "list-import-errors")
    assert DAG in airflow.run("dags", "list")


def test_a_test_run_of_the_dag_pushes_a_model_as_accurate_as_a_local_run_does(
    airflow: Airflow, smoke_run: SmokeRun, record_result: RecordResult
) -> None:
    started = time.monotonic()
    airflow.run("dags", "test", DAG)
    seconds = round(time.monotonic() - started, 1)
    ((run_id, (_, state)),) = airflow.runs().items()
    assert state == "success"
    assert set(airflow.task_states(run_id).values()) == {"success"}
    result = airflow.result(run_id)
    assert result.status is Status.PUSHED
    assert (airflow.workdir / "serving" / "fashion_mnist" / str(result.version)).is_dir()
    record_result(
        "airflow_dags_test",
        {
            "airflow": AIRFLOW,
            "seconds": seconds,
            "accuracy_of_a_local_run": smoke_run.result.accuracy,
            "result": json.loads(result.model_dump_json(include={"status", "accuracy", "nodes"})),
        },
    )
    assert result.accuracy == smoke_run.result.accuracy


def test_a_task_that_is_cleared_after_its_push_pushes_nothing(airflow: Airflow) -> None:
    versions = set((airflow.workdir / "serving" / "fashion_mnist").iterdir())
    run_id, *_ = airflow.runs()
    plan = json.loads((airflow.home / "dags" / "fashion_mnist.json").read_text())
    (command,) = (task["command"] for task in plan["tasks"] if task["id"] == "Pusher")
    again = [word.replace("{{ run_id }}", run_id) for word in command]
    subprocess.run(again, cwd=ROOT, check=True)
    assert set((airflow.workdir / "serving" / "fashion_mnist").iterdir()) == versions


def test_a_dag_whose_settings_were_edited_stops_with_the_reason_and_without_retries(
    airflow: Airflow,
) -> None:
    airflow.settings_file.write_text("[schedule]\nretry_delay_seconds = 2\n")
    states, output = _failed_run(airflow)
    airflow.compile()
    assert states["IdxExampleGen"] == "failed"
    assert "Pusher" not in {task for task, state in states.items() if state == "success"}
    assert "changed: schedule.retry_delay_seconds in" in output
    assert "up_for_retry" not in states.values()


def test_a_task_ends_at_its_time_limit(airflow: Airflow) -> None:
    airflow.compile("schedule.node_timeout_seconds=3", "schedule.retries=0")
    states, output = _failed_run(airflow)
    airflow.compile()
    assert states["IdxExampleGen"] == "failed"
    assert "AirflowTaskTimeout" in output


def test_a_scheduled_run_and_a_backfill_succeed_and_know_their_spans(
    airflow: Airflow, record_result: RecordResult
) -> None:
    day = f"{airflow.first_day:%Y-%m-%d}"
    backfill = ["backfill", "create", "--dag-id", DAG, "--max-active-runs", "1"]
    airflow.run(*backfill, "--from-date", day, "--to-date", day)
    airflow.run("dags", "unpause", DAG)
    started = time.monotonic()
    with standalone(airflow):
        ended = _wait_for(airflow, {"backfill", "scheduled"})
    seconds = round(time.monotonic() - started, 1)
    assert dict(ended.values()) == {
        "backfill": "success",
        "scheduled": "success",
    }
    span = {
        run_type: airflow.log_of(run_id, "IdxExampleGen").partition("--last-span', '")[2][0]
        for run_id, (run_type, _) in ended.items()
    }
    assert span == {"backfill": "1", "scheduled": "2"}
    statuses = {run_id: airflow.result(run_id).status for run_id in ended}
    assert set(statuses.values()) <= {Status.PUSHED, Status.UP_TO_DATE}
    record_result(
        "airflow_scheduler",
        {"airflow": AIRFLOW, "seconds": seconds, "runs": statuses, "spans": span},
    )


def test_a_refused_model_ends_pusher_as_skipped_with_the_reason(airflow: Airflow) -> None:
    before = airflow.runs()
    airflow.compile("evaluation.min_accuracy=0.999")
    output = airflow.run("dags", "test", DAG)
    (run_id,) = airflow.runs().keys() - before
    states = airflow.task_states(run_id)
    assert states.pop("Pusher") == "skipped"
    assert set(states.values()) == {"success"}
    assert airflow.runs()[run_id][1] == "success"
    assert "required is at least 0.9990" in output
    assert airflow.result(run_id).status is Status.NOT_BLESSED


def _failed_run(airflow: Airflow) -> tuple[dict[str, str], str]:
    """Returns the states of the tasks of a test run that fails, and what it printed."""
    before = airflow.runs()
    output = airflow.run("dags", "test", DAG, succeeds=False)
    (run_id,) = airflow.runs().keys() - before
    return airflow.task_states(run_id), output


def _wait_for(airflow: Airflow, types: set[str]) -> dict[str, tuple[str, str]]:
    while True:
        runs = {i: (kind, state) for i, (kind, state) in airflow.runs().items() if kind in types}
        over = [state in ("success", "failed") for _, state in runs.values()]
        if {kind for kind, _ in runs.values()} == types and all(over):
            return runs
        time.sleep(5)
