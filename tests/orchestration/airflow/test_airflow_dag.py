"""The DAG as it is written, and as Airflow sees it: with stand-ins for Airflow's own modules."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.airflow.compiler import compile_airflow
from orchestration.ir import read_outline
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT

# Only what the DAG file uses of Airflow's Task SDK.
STAND_INS = {
    "airflow/sdk/__init__.py": """
from dataclasses import dataclass
Context = dict
class CronDataIntervalTimetable:
    def __init__(self, cron, timezone): self.cron, self.timezone = cron, timezone
class DAG:
    def __init__(self, dag_id, **arguments):
        self.dag_id, self.arguments, DAG.last = dag_id, arguments, self
    def __enter__(self): return self
    def __exit__(self, *_): pass
class BaseOperator:
    def __init__(self, task_id): self.task_id, self.upstream, self.teardown = task_id, [], False
    def set_upstream(self, tasks): self.upstream += [task.task_id for task in tasks]
    def as_teardown(self, on_failure_fail_dagrun): self.teardown = on_failure_fail_dagrun
""",
    "airflow/sdk/exceptions.py": """
class AirflowException(Exception): ...
class AirflowFailException(AirflowException): ...
class AirflowSkipException(AirflowException): ...
""",
    "airflow/providers/standard/hooks/subprocess.py": """
import os, signal, subprocess, types
class SubprocessHook:
    sub_process = None
    def run_command(self, command, cwd):
        self.sub_process = subprocess.Popen(
            command, cwd=cwd, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        lines = self.sub_process.stdout.read().splitlines() or [""]
        return types.SimpleNamespace(exit_code=self.sub_process.wait(), output=lines[-1])
    def send_sigterm(self):
        os.killpg(os.getpgid(self.sub_process.pid), signal.SIGTERM)
""",
}

# Prints what parsing the DAG file gave, and what it imported.
LOOK = """
import json, runpy, subprocess, sys
from datetime import datetime
found = runpy.run_path(sys.argv[1])
dag = found["DAG"].last

def ending(code):
    command = [sys.executable, "-c", f"print('the reason'); raise SystemExit({code})"]
    try:
        found["ProjectCommand"](task_id="t", command=command).execute({})
    except Exception as error:
        return [type(error).__name__, str(error)]
    return ["", ""]

def killed(on_sigterm):
    command = found["ProjectCommand"](task_id="t", command=[])
    command.on_kill.__globals__["GRACE_SECONDS"] = 1
    command.on_kill()  # Before it was started, there is nothing to stop.
    code = f"import signal, time; signal.signal(signal.SIGTERM, {on_sigterm});"
    code += "print(flush=True); time.sleep(600)"
    process = command._hook.sub_process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    process.stdout.readline()
    command.on_kill()
    return process.wait()

print(json.dumps({
    "dag_id": dag.dag_id,
    "cron": dag.arguments["schedule"].cron,
    "start": dag.arguments["start_date"].isoformat(),
    "catchup": dag.arguments["catchup"],
    "max_active_runs": dag.arguments["max_active_runs"],
    "retries": dag.arguments["default_args"]["retries"],
    "timeout": dag.arguments["default_args"]["execution_timeout"].total_seconds(),
    "tasks": {name: [task.upstream, task.teardown] for name, task in found["tasks"].items()},
    "killed": [killed(how) for how in ("lambda *_: exit(130)", "signal.SIG_IGN")],
    "endings": {code: ending(code) for code in (0, 1, 3, 4, 5, 6, 7, 130)},
    "spans": [found["last_span"](day and datetime.fromisoformat(day)) for day in (
        None, "2026-03-01T02:00:00+00:00", "2026-03-01T23:30:00+00:00", "2026-03-08T02:00:00+00:00"
    )],
    "spans_before": [found["last_span"](datetime.fromisoformat(day)) for day in (
        "2026-02-28T22:30:00+00:00", "2026-02-20T02:00:00+00:00"
    )],
    "imported": sorted({name.partition(".")[0] for name in sys.modules}),
}))
"""


def compiled(folder: Path, *settings: str) -> Path:
    config = load_config("smoke", overrides=settings, workdir=folder / "var")
    *_, dag = compile_airflow(config, folder / "dags")
    return dag


def seen(dag: Path) -> dict:
    """What a process without this project and without TFX on its path reads from the DAG file."""
    stand_ins = dag.parent.parent / "stand-ins"
    for name, source in STAND_INS.items():
        path = stand_ins / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    done = subprocess.run(
        [sys.executable, "-S", "-c", LOOK, str(dag)],
        cwd=dag.parent,
        env={"PYTHONPATH": str(stand_ins)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def dag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    start, zone = "schedule.start='2026-03-01'", "schedule.time_zone='Europe/Berlin'"
    return compiled(tmp_path_factory.mktemp("airflow"), start, zone)


@pytest.fixture(scope="module")
def parsed(dag: Path) -> dict:
    return seen(dag)


def test_every_node_is_a_task_with_the_edges_of_the_pipeline(dag: Path, parsed: dict) -> None:
    ir = json.loads(dag.with_suffix(".ir.json").read_text())
    nodes = [node["pipelineNode"] for node in ir["nodes"]]
    edges = {node["nodeInfo"]["id"]: sorted(node.get("upstreamNodes", [])) for node in nodes}
    tasks = {name: sorted(upstream) for name, (upstream, _) in parsed["tasks"].items()}
    leaves = set(edges).difference(*edges.values())
    assert tasks == {**edges, "result": sorted(leaves)}


def test_the_result_is_written_however_the_run_ends(parsed: dict) -> None:
    assert [name for name, (_, teardown) in parsed["tasks"].items() if teardown] == ["result"]


def test_parsing_imports_nothing_of_the_project_nor_tensorflow(parsed: dict) -> None:
    forbidden = {"pipeline", "components", "tfx", "tensorflow", "google", "pydantic"}
    assert forbidden.isdisjoint(parsed["imported"])


def test_runs_are_scheduled_one_at_a_time_and_caught_up(parsed: dict) -> None:
    assert parsed["dag_id"] == "fashion-mnist"
    assert parsed["cron"] == "0 3 * * *"
    assert parsed["start"] == "2026-03-01T00:00:00+01:00"
    assert parsed["catchup"] is True
    assert parsed["max_active_runs"] == 1
    assert (parsed["retries"], parsed["timeout"]) == (3, 10800)


def test_a_data_interval_is_a_span_counted_in_days_of_the_schedules_time_zone(parsed: dict) -> None:
    # Half past eleven at night in UTC is the next day in Berlin.
    assert parsed["spans"] == [0, 1, 2, 8]


def test_a_run_for_a_day_before_the_first_span_may_read_none(parsed: dict) -> None:
    # 0 would be all of them.
    assert parsed["spans_before"] == [-1, -1]


def test_example_gen_alone_is_told_the_span_and_its_execution_tells_the_others(dag: Path) -> None:
    plan = json.loads(dag.with_suffix(".json").read_text())
    tasks = [*plan["tasks"], plan["result"]]
    told = [task["id"] for task in tasks if "--last-span" in task["command"]]
    assert told == ["IdxExampleGen"]


def test_a_refused_model_is_skipped_and_refused_data_is_not_tried_again(parsed: dict) -> None:
    endings = parsed["endings"]
    assert endings["0"] == ["", ""]
    for model_refused in ("3", "4", "6"):
        assert endings[model_refused] == ["AirflowSkipException", "the reason"]
    assert endings["5"] == ["AirflowFailException", "the reason"]
    for may_pass in ("1", "7", "130"):
        assert endings[may_pass][0] == "AirflowException"


def test_what_is_stopped_or_times_out_is_interrupted_and_then_killed(parsed: dict) -> None:
    assert parsed["killed"] == [130, -signal.SIGKILL]


def test_a_refused_model_fails_where_that_is_asked_for(tmp_path: Path) -> None:
    endings = seen(compiled(tmp_path, "push.fail_when_refused=true"))["endings"]
    assert endings["3"] == ["AirflowFailException", "the reason"]


def test_without_a_first_day_runs_read_the_newest_spans_and_none_is_caught_up(
    tmp_path: Path,
) -> None:
    found = seen(compiled(tmp_path))
    assert found["catchup"] is False
    assert found["spans"] == [0, 0, 0, 0]


def test_the_official_data_is_fetched_first_unless_the_sample_is_used(tmp_path: Path) -> None:
    tasks = seen(compiled(tmp_path, "data.sample=false"))["tasks"]
    assert tasks["IdxExampleGen"][0] == ["fetch_data"]
    assert tasks["fetch_data"][0] == []


def test_tasks_run_by_this_projects_interpreter_in_its_folder(dag: Path) -> None:
    plan = json.loads(dag.with_suffix(".json").read_text())
    assert Path(plan["project"]) == ROOT
    assert {task["command"][0] for task in plan["tasks"]} == {sys.executable}
    assert read_outline(dag.with_suffix(".ir.json")).workdir == dag.parent.parent / "var"


def test_the_dags_of_two_models_with_names_alike_lie_side_by_side_in_one_folder(
    tmp_path: Path,
) -> None:
    dags = [compiled(tmp_path, f"serving.model_name='{name}'") for name in ("a_b", "a-b", "a_b.ir")]
    assert len(list((tmp_path / "dags").iterdir())) == 3 * len(dags)
    found = [seen(dag) for dag in dags]
    assert len({each["dag_id"] for each in found}) == len(dags)
    for dag in dags:
        commands = [
            task["command"] for task in json.loads(dag.with_suffix(".json").read_text())["tasks"]
        ]
        assert all(str(dag.with_suffix(".ir.json")) in command for command in commands)


def test_no_password_is_written_and_tasks_run_beside_each_other_on_postgresql(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "sesame")
    dag = compiled(tmp_path, "metadata.host='db'", "metadata.user='tfx'")
    assert all("sesame" not in path.read_text() for path in dag.parent.iterdir())
    assert json.loads(dag.with_suffix(".json").read_text())["max_active_tasks"] is None
