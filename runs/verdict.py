"""Reads from a node's outputs what they mean for the run."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from tfx.types import Artifact

from components.infra_validator.blessing import is_blessed, read_blessing
from components.metrics.class_metrics import CALIBRATION_ERROR
from components.metrics.evaluation_results import read_metrics
from components.model_diff.component import read_churn, read_reasons
from components.pusher.executor import read_result
from components.served_model.component import MODEL_KEY, VERSION_PROPERTY
from pipeline.best_hyperparameters import read_tuned
from pipeline.evaluation import ACCURACY, refusal_reasons, suspected_spans
from pipeline.modeling.features import CLASS_LABELS
from runs.exit_status import Status
from runs.result import ClassQuality, RunResult

Outputs = Mapping[str, Sequence[Artifact]]

_LOG_LINES = 5


def record(
    node_id: str, outputs: Outputs, result: RunResult, labels: Sequence[str] = CLASS_LABELS
) -> None:
    """Takes over what a node found out; ends the run when that decides it.

    Args:
        node_id: the node that has just run, or was found in the cache.
        outputs: its output artifacts by channel.
        result: the run's result.
        labels: names of the classes, in the order of their ids.
    """
    readers: dict[str, Callable[[Outputs, RunResult], None]] = {
        "ServedModel": _found_served,
        "Tuner": _tuned,
        "Evaluator": partial(_evaluated, labels=labels),
        "ModelDiff": _compared,
        "InfraValidator": _infra_validated,
        "Pusher": _pushed,
    }
    if node_id in readers:
        readers[node_id](outputs, result)


def _found_served(outputs: Outputs, result: RunResult) -> None:
    for model in outputs.get(MODEL_KEY, []):
        result.baseline_version = model.get_int_custom_property(VERSION_PROPERTY)


def _tuned(outputs: Outputs, result: RunResult) -> None:
    result.tuned = read_tuned(Path(outputs["best_hyperparameters"][0].uri))


def _evaluated(outputs: Outputs, result: RunResult, labels: Sequence[str]) -> None:
    (evaluation,), (blessing,) = outputs["evaluation"], outputs["blessing"]
    metrics = read_metrics(Path(evaluation.uri))
    result.accuracy = metrics.overall[ACCURACY]
    # A run from before this metric has none.
    result.calibration_error = metrics.overall.get(CALIBRATION_ERROR)
    result.classes = {
        labels[class_id]: ClassQuality.model_validate(values)
        for class_id, values in metrics.classes.items()
        # Without an image, a class has at most a precision, of predictions that are all wrong.
        if "recall" in values
    }
    if not is_blessed(blessing):
        result.blamed_spans = suspected_spans(Path(evaluation.uri))
        result.finish(Status.NOT_BLESSED, refusal_reasons(Path(evaluation.uri), labels))


def _compared(outputs: Outputs, result: RunResult) -> None:
    churn = read_churn(outputs["diff"][0].uri)
    result.churn = round(churn.share, 6) if churn else None
    result.live_churn = round(churn.live.share, 6) if churn and churn.live else None
    if reasons := read_reasons(outputs["blessing"][0]):
        result.finish(Status.NOT_BLESSED, reasons)


def _infra_validated(outputs: Outputs, result: RunResult) -> None:
    blessing = read_blessing(outputs["blessing"][0].uri)
    result.model_server = blessing.model_server
    if not blessing.blessed:
        log = [f"server log: {line}" for line in blessing.server_log[-_LOG_LINES:]]
        result.finish(Status.INFRA_REFUSED, [*blessing.reasons, *log])


def _pushed(outputs: Outputs, result: RunResult) -> None:
    pushed = read_result(outputs["pushed_model"][0])
    result.version = pushed.version
    result.finish(Status(pushed.status), pushed.reasons)
