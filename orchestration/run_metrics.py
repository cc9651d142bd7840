"""What the last run did, as a text file for Prometheus: `<workdir>/metrics/run.prom`.

The textfile collector of node_exporter reads it. Dates stand for ages, because nobody writes the
file between two runs.
"""

import logging

from data.layout import spans_folder
from data.quarantine import quarantined
from data.spans import list_spans
from files.whole import write_whole
from pipeline.settings.config import Config
from runs.exit_status import Status
from runs.result import RunResult
from serving.versions.store import VersionStore

logger = logging.getLogger(__name__)

_FILE = "metrics/run.prom"

# What each metric is, in the order in which it is written.
_HELP = {
    "pipeline_run_start_timestamp_seconds": "When the last run began.",
    "pipeline_run_end_timestamp_seconds": "When the last run ended.",
    "pipeline_run_duration_seconds": "How long the last run took.",
    "pipeline_run_accuracy": "Accuracy of the last run's model, by Evaluator.",
    "pipeline_served_version": "The newest version in the serving directory.",
    "pipeline_served_version_pushed_timestamp_seconds": "When that version was pushed.",
    "pipeline_spans": "Spans of new data that are there, quarantined ones included.",
    "pipeline_quarantined_spans": "Spans that no run reads, because they made one fail.",
}


def write_run_metrics(config: Config, result: RunResult) -> None:
    """Writes the metrics of a run that is over; what goes wrong is a line in the log.

    A run that found the workdir busy leaves them as they are: they are those of the other run.

    Args:
        config: all settings of the run.
        result: how it ended.
    """
    if result.status is Status.BUSY:
        return
    path = config.workdir / _FILE
    values: dict[str, float | None] = {}
    for measure in (_of_result, _of_served_version, _of_spans):
        try:
            values |= measure(config, result)
        except Exception as error:
            logger.warning("%s is not complete: %s: %s", path, type(error).__name__, error)
    try:
        write_whole(path, _exposition(config.serving.model_name, result.status, values))
    except Exception as error:
        logger.warning("%s is not written: %s: %s", path, type(error).__name__, error)


def _of_result(_config: Config, result: RunResult) -> dict[str, float | None]:
    end = result.finished_at or result.started_at
    return {
        "pipeline_run_start_timestamp_seconds": result.started_at.timestamp(),
        "pipeline_run_end_timestamp_seconds": end.timestamp(),
        "pipeline_run_duration_seconds": max((end - result.started_at).total_seconds(), 0.0),
        "pipeline_run_accuracy": result.accuracy,
    }


def _of_served_version(config: Config, _result: RunResult) -> dict[str, float | None]:
    version = VersionStore(config.serving_base).newest_served()
    if version is None or version.record is None:
        return {}
    return {
        "pipeline_served_version": version.number,
        "pipeline_served_version_pushed_timestamp_seconds": version.record.pushed_at.timestamp(),
    }


def _of_spans(config: Config, _result: RunResult) -> dict[str, float | None]:
    return {
        "pipeline_spans": len(list_spans(spans_folder(config.data_root))),
        "pipeline_quarantined_spans": len(quarantined(config.data_root)),
    }


def _exposition(model: str, status: Status, values: dict[str, float | None]) -> str:
    """Returns the file's content, in Prometheus' text format.

    Its client library takes longer to import than a run with nothing to do may last.
    """
    label = model.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    lines = [
        "# HELP pipeline_run_status 1 for the status of the last run, 0 for every other.",
        "# TYPE pipeline_run_status gauge",
    ]
    for each in Status:
        labels = f'model="{label}",status="{each.value}"'
        lines.append(f"pipeline_run_status{{{labels}}} {float(each is status)}")
    for name, text in _HELP.items():
        if (value := values.get(name)) is not None:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
            lines.append(f'{name}{{model="{label}"}} {float(value)}')
    return "\n".join([*lines, ""])
