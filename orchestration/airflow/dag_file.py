"""The pipeline as a DAG of Airflow 3; `runner.py compile airflow` put this file here.

It reads its tasks from the JSON file beside it and imports nothing of the project, whose own
interpreter runs every task: Airflow lives in an environment of its own.
"""

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any
from zoneinfo import ZoneInfo

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import DAG, BaseOperator, Context, CronDataIntervalTimetable
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)

PLAN = json.loads(Path(__file__).with_suffix(".json").read_text())
ZONE = ZoneInfo(PLAN["time_zone"])
START = datetime.fromisoformat(PLAN["start"]).replace(tzinfo=ZONE) if PLAN["start"] else None

# Between interrupting and killing; Airflow itself kills the task a minute after it was to stop.
GRACE_SECONDS = 30


class ProjectCommand(BaseOperator):
    """Runs a command in the project's folder and tells refusals from failures by exit code."""

    template_fields = ("command",)

    def __init__(self, *, command: list[str], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.command = command
        self._hook = SubprocessHook()

    def execute(self, context: Context) -> None:
        """Runs the command; what it prints is the task's log.

        Raises:
            AirflowSkipException: a model was refused.
            AirflowFailException: a retry would only repeat the failure.
            AirflowException: any other failure.
        """
        done = self._hook.run_command(self.command, cwd=PLAN["project"])
        if done.exit_code in PLAN["skip_on_exit_code"]:
            raise AirflowSkipException(done.output)
        if done.exit_code in PLAN["fail_on_exit_code"]:
            raise AirflowFailException(done.output)
        if done.exit_code:
            raise AirflowException(f"exit code {done.exit_code}: {done.output}")

    def on_kill(self) -> None:
        """Interrupts the command when the task times out or is stopped, and kills it if need be.

        A command that went on would hold up the next attempt, which waits for it.
        """
        command = self._hook.sub_process
        if command is None:
            return
        self._hook.send_sigterm()
        try:
            command.wait(GRACE_SECONDS)
        except TimeoutExpired:
            os.killpg(command.pid, signal.SIGKILL)


def last_span(interval_start: datetime | None) -> int:
    """Returns the span of the day that a run is for; 0: it may read the newest ones.

    A day before the first span has -1, since no span may be read then.
    """
    if START is None or interval_start is None:
        return 0
    days = (interval_start.astimezone(ZONE).date() - START.date()).days
    return days + 1 if days >= 0 else -1


with DAG(
    PLAN["dag_id"],
    description=PLAN["description"],
    schedule=CronDataIntervalTimetable(PLAN["cron"], timezone=PLAN["time_zone"]),
    start_date=START or datetime(2020, 1, 1, tzinfo=UTC),
    catchup=START is not None,
    max_active_runs=1,
    user_defined_macros={"last_span": last_span},
    default_args={
        "retries": PLAN["retries"],
        "retry_delay": timedelta(seconds=PLAN["retry_delay_seconds"]),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(seconds=PLAN["timeout_seconds"]),
    },
    **({"max_active_tasks": PLAN["max_active_tasks"]} if PLAN["max_active_tasks"] else {}),
):
    tasks = {
        task["id"]: ProjectCommand(task_id=task["id"], command=task["command"])
        for task in [*PLAN["tasks"], PLAN["result"]]
    }
    for task in [*PLAN["tasks"], PLAN["result"]]:
        tasks[task["id"]].set_upstream([tasks[upstream] for upstream in task["upstream"]])
    # A teardown runs however the nodes ended, and leaves the verdict on the run to them.
    tasks[PLAN["result"]["id"]].as_teardown(on_failure_fail_dagrun=True)
