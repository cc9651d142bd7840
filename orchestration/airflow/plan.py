"""What the DAG file needs to know, as plain data: its settings and its tasks."""

import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from pydantic import BaseModel
from tfx.proto.orchestration import pipeline_pb2

from pipeline.settings.config import Config
from pipeline.settings.paths import ROOT
from runs.executions import LAST_SPAN_PARAMETER, node_ids
from runs.exit_status import Status

_RUN_ID = "{{ run_id }}"
_UP_TO_LAST_SPAN = ("--last-span", "{{ last_span(dag_run.data_interval_start) }}")
_FETCH = "fetch_data"


class Task(BaseModel):
    """One task of the DAG.

    Attributes:
        id: of a node its id.
        upstream: the tasks that must have succeeded before.
        command: the program and its arguments, Jinja templates in them.
    """

    id: str
    upstream: list[str]
    command: list[str]


class Plan(BaseModel):
    """The DAG.

    Attributes:
        dag_id: its name, which tells it from the DAGs of other models.
        description: what it does, for people.
        cron: when runs start, five fields.
        time_zone: of `cron` and `start`.
        start: the day of span 1; None: runs are not caught up and know no spans of their own.
        retries: further attempts at a task that failed.
        retry_delay_seconds: before the first of them; doubles from one to the next.
        timeout_seconds: of one attempt.
        max_active_tasks: how many tasks run at once; None: as many as Airflow allows.
        skip_on_exit_code: exit codes that end a task as skipped.
        fail_on_exit_code: exit codes after which a retry would only repeat the failure.
        project: the folder in which commands are run.
        tasks: the nodes, in an order in which they can run.
        result: runs last, however the others ended.
    """

    dag_id: str
    description: str
    cron: str
    time_zone: str
    start: date | None
    retries: int
    retry_delay_seconds: float
    timeout_seconds: float
    max_active_tasks: int | None
    skip_on_exit_code: list[int]
    fail_on_exit_code: list[int]
    project: Path
    tasks: list[Task]
    result: Task


def plan_of(config: Config, ir: pipeline_pb2.Pipeline, ir_path: Path) -> Plan:
    """Returns the DAG of a compiled pipeline.

    Args:
        config: all settings.
        ir: the pipeline.
        ir_path: the file that holds it.
    """
    schedule = config.schedule
    tasks = list(_tasks(config, ir, ir_path))
    followed = {upstream for task in tasks for upstream in task.upstream}
    model_refused = [
        status.exit_code
        for status in (Status.NOT_BLESSED, Status.INFRA_REFUSED, Status.ROLLED_BACK)
    ]
    skipped = [] if config.push.fail_when_refused else model_refused
    return Plan(
        dag_id=ir.pipeline_info.id,
        description=f"Trains, judges and pushes the model {config.serving.model_name}.",
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        start=schedule.start,
        retries=schedule.retries,
        retry_delay_seconds=schedule.retry_delay_seconds,
        timeout_seconds=schedule.node_timeout_seconds,
        # SQLite lets one process write at a time; the others would wait and then give up.
        max_active_tasks=None if config.metadata.host else 1,
        skip_on_exit_code=skipped,
        fail_on_exit_code=[2, Status.DATA_REFUSED.exit_code, *model_refused],
        project=ROOT,
        tasks=tasks,
        result=Task(
            id="result",
            upstream=[task.id for task in tasks if task.id not in followed],
            command=[
                *_module("orchestration.record_result", str(ir_path), _RUN_ID),
                *("--keep-runs", str(config.retention.runs)),
                *("--recordings", str(config.recordings_dir)),
                *("--keep-recorded-days", str(config.traffic.keep_days)),
            ],
        ),
    )


def _tasks(config: Config, ir: pipeline_pb2.Pipeline, ir_path: Path) -> Iterator[Task]:
    first = []
    if config.fetches_data:
        command = [sys.executable, "runner.py", "data", "fetch", "--workdir", str(config.workdir)]
        if config.data.source:
            command += ["--from", str(config.data.source)]
        yield Task(id=_FETCH, upstream=[], command=command)
        first = [_FETCH]
    for node_id, entry in zip(node_ids(ir), ir.nodes, strict=True):
        node = entry.pipeline_node
        command = _module("orchestration.node", str(ir_path), _RUN_ID, node_id)
        if _takes_last_span(node):
            command += _UP_TO_LAST_SPAN
            upstream = [*node.upstream_nodes, *first]
        else:
            upstream = list(node.upstream_nodes)
        yield Task(id=node_id, upstream=upstream, command=command)


def _takes_last_span(node: pipeline_pb2.PipelineNode) -> bool:
    return any(
        value.runtime_parameter.name == LAST_SPAN_PARAMETER
        for value in node.parameters.parameters.values()
    )


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", name, *arguments]
