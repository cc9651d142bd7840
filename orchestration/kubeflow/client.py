"""Runs and recurring runs of the compiled pipeline on a Kubeflow Pipelines server."""

import contextlib
import hashlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kfp
import kfp_server_api
import urllib3
import yaml
from pydantic import BaseModel

from orchestration.schedule.cron import Cron, weekday_names
from pipeline.settings.errors import UsageError
from pipeline.settings.kubeflow import KubeflowSettings

logger = logging.getLogger(__name__)

_TOKEN_VARIABLE = "KUBEFLOW_TOKEN"
_PAGE_SIZE = 100


class KubeflowError(Exception):
    """The server cannot be reached, or does not do what it was asked."""


class SubmittedRun(BaseModel):
    """A run that the server has taken on."""

    run_id: str
    experiment_id: str
    pipeline_id: str
    version_id: str


class RecurringRun(BaseModel):
    """A schedule on the server."""

    recurring_run_id: str
    name: str
    cron: str
    enabled: bool


class KubeflowClient:
    """What this project asks of the server; every method raises KubeflowError when it fails."""

    def __init__(self, settings: KubeflowSettings) -> None:
        """Connects to the server.

        Args:
            settings: `host` has to be set; the environment's KUBEFLOW_TOKEN, if there is one, is
                sent as bearer token.

        Raises:
            UsageError: when the settings name no host.
        """
        if not settings.host:
            raise UsageError(
                "no Kubeflow Pipelines server is set; give --host or the setting kubeflow.host"
            )
        self._settings = settings
        with self._errors(), warnings.catch_warnings(action="ignore"):
            self._client = kfp.Client(
                host=settings.host,
                namespace=settings.namespace or "kubeflow",
                existing_token=os.environ.get(_TOKEN_VARIABLE),
            )

    def submit(self, package: Path) -> SubmittedRun:
        """Uploads the compiled pipeline and runs it once."""
        with self._errors():
            experiment, pipeline, version = self._prepare(package)
            run = self._client.run_pipeline(
                experiment_id=experiment,
                job_name=f"{_pipeline_name(package)}-{_digest(package)}",
                pipeline_id=pipeline,
                version_id=version,
                pipeline_root=self._settings.pipeline_root,
            )
        return SubmittedRun(
            run_id=run.run_id, experiment_id=experiment, pipeline_id=pipeline, version_id=version
        )

    def create_recurring_run(self, package: Path, cron: str) -> RecurringRun:
        """Uploads the compiled pipeline and has it run again and again, one run at a time.

        Times that are missed lead to one run.

        Args:
            package: the compiled pipeline.
            cron: minute, hour, day of the month, month and weekday, in the server's time zone.

        Raises:
            UsageError: when the expression is not valid.
        """
        expression = _with_seconds(cron)
        name = _pipeline_name(package)
        with self._errors():
            for existing in self.recurring_runs():
                if existing.name == name:
                    raise KubeflowError(
                        f"there is already a recurring run of {name}, "
                        f"{existing.recurring_run_id}; delete it first"
                    )
            experiment, pipeline, version = self._prepare(package)
            created = self._client.create_recurring_run(
                experiment_id=experiment,
                job_name=name,
                cron_expression=expression,
                max_concurrency=1,
                no_catchup=True,
                pipeline_id=pipeline,
                version_id=version,
                pipeline_root=self._settings.pipeline_root,
            )
        return _recurring_run(created)

    def recurring_runs(self) -> list[RecurringRun]:
        """Returns all recurring runs of the experiment."""
        with self._errors():
            experiment, page = self._experiment(), ""
            found: list[RecurringRun] = []
            while True:
                answer = self._client.list_recurring_runs(
                    page_token=page, page_size=_PAGE_SIZE, experiment_id=experiment
                )
                found.extend(_recurring_run(entry) for entry in answer.recurring_runs or [])
                page = answer.next_page_token or ""
                if not page:
                    return found

    def disable_recurring_run(self, recurring_run_id: str) -> None:
        """Makes a recurring run start no more runs."""
        with self._errors():
            self._client.disable_recurring_run(recurring_run_id)

    def enable_recurring_run(self, recurring_run_id: str) -> None:
        """Takes back what `disable_recurring_run` did."""
        with self._errors():
            self._client.enable_recurring_run(recurring_run_id)

    def delete_recurring_run(self, recurring_run_id: str) -> None:
        """Removes a recurring run; what it has started goes on."""
        with self._errors():
            self._client.delete_recurring_run(recurring_run_id)

    def _prepare(self, package: Path) -> tuple[str, str, str]:
        """Returns the ids of the experiment, the pipeline and the uploaded version."""
        experiment = self._experiment()
        name, version_name = _pipeline_name(package), _digest(package)
        pipeline = self._client.get_pipeline_id(name)
        if pipeline is None:
            uploaded = self._client.upload_pipeline(
                str(package), name, namespace=self._settings.namespace
            )
            (version,) = self._versions(uploaded.pipeline_id)
            return experiment, uploaded.pipeline_id, version.pipeline_version_id
        for version in self._versions(pipeline):
            if version.display_name == version_name:
                return experiment, pipeline, version.pipeline_version_id
        version = self._client.upload_pipeline_version(
            str(package), version_name, pipeline_id=pipeline
        )
        return experiment, pipeline, version.pipeline_version_id

    def _experiment(self) -> str:
        experiment_id: str = self._client.create_experiment(
            self._settings.experiment, namespace=self._settings.namespace
        ).experiment_id
        return experiment_id

    def _versions(self, pipeline_id: str) -> list[Any]:
        answer = self._client.list_pipeline_versions(
            pipeline_id, page_size=_PAGE_SIZE, sort_by="created_at desc"
        )
        return list(answer.pipeline_versions or [])

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """Says in a sentence what went wrong, and keeps kfp's own messages off stdout."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except kfp_server_api.ApiException as error:
            raise KubeflowError(
                f"{self._settings.host} answers {error.status} {error.reason}: {error.body}"
            ) from None
        except (urllib3.exceptions.HTTPError, TimeoutError) as error:
            raise KubeflowError(f"{self._settings.host} cannot be reached: {error}") from None


def _pipeline_name(package: Path) -> str:
    spec = next(yaml.safe_load_all(package.read_text()))
    return str(spec["pipelineInfo"]["name"])


def _digest(package: Path) -> str:
    return hashlib.sha256(package.read_bytes()).hexdigest()[:12]


def _with_seconds(cron: str) -> str:
    """Returns the expression with the field for seconds that Kubeflow wants before the others."""
    Cron(cron, "UTC")  # raises what is wrong with it
    *fields, weekday = cron.split()
    return " ".join(["0", *fields, weekday_names(weekday)])


def _recurring_run(entry: Any) -> RecurringRun:
    schedule = entry.trigger.cron_schedule if entry.trigger else None
    return RecurringRun(
        recurring_run_id=entry.recurring_run_id,
        name=entry.display_name,
        cron=schedule.cron if schedule else "",
        enabled=entry.status == "ENABLED" or entry.mode == "ENABLE",
    )
