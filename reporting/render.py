"""Turns a page's data into one HTML file that needs nothing else."""

import base64
import re
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reporting.page import HistoryPage, OriginStatistics, Page
from runs.result import NodeState, Status

_TEMPLATES = Path(__file__).parent / "templates"

_HEADLINES = {
    Status.PUSHED: "Pushed version {version}",
    Status.UP_TO_DATE: "Version {version} is up to date",
    Status.NOT_BLESSED: "Not pushed: the model did not reach its thresholds",
    Status.INFRA_REFUSED: "Not pushed: infra validation refused the model",
    Status.DATA_REFUSED: "Not pushed: the data was refused",
    Status.ROLLED_BACK: "Rolled back: version {version} is not served",
    Status.BUSY: "Not started: the workdir was busy",
    Status.INTERRUPTED: "Interrupted",
    Status.FAILED: "Failed",
}
_METRIC_NAMES = {
    "sparse_categorical_accuracy": "accuracy",
    "sparse_categorical_crossentropy": "cross-entropy",
    "example_count": "images",
    "auc": "AUC",
}
_STATE_SIGNS = {
    NodeState.DONE: "✓",
    NodeState.CACHED: "↺",
    NodeState.FAILED: "✕",
    NodeState.SKIPPED: "·",
    NodeState.PENDING: "·",
    NodeState.RUNNING: "…",
}


def render_page(page: Page) -> str:
    """Returns a run's report as HTML."""
    # Matplotlib takes half a second to import.
    from reporting import figures

    return (
        _environment()
        .get_template("run.html.j2")
        .render(
            page=page,
            result=page.result,
            headline=_headline(page.result.status, page.result.version),
            figures=figures,
            parts=_compared_parts(page),
        )
    )


def render_history(history: HistoryPage) -> str:
    """Returns the history of a workdir as HTML."""
    from reporting import figures

    return _environment().get_template("history.html.j2").render(history=history, figures=figures)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "style": Markup((_TEMPLATES / "style.css").read_text()),
        "state_signs": _STATE_SIGNS,
    }
    environment.filters |= {
        "headline": _headline,
        "time": _time,
        "duration": _duration,
        "png": _png,
        "metric_name": _metric_name,
        "metric_value": _metric_value,
        "metric_change": _metric_change,
        "lines": _lines,
    }
    return environment


def _compared_parts(page: Page) -> list[tuple[str, OriginStatistics]]:
    """The parts of the training data that are drawn over each other, the served model's last."""
    if page.data is None:
        return []
    parts = [(part.origin, part) for part in page.data.statistics if part.split == "train"][-3:]
    if parts and page.data.served:
        parts.append(("of the served model", page.data.served))
    return [(name, part) for name, part in parts if part.brightness]


def _headline(status: Status, version: int | None) -> str:
    return _HEADLINES[status].format(version=version)


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _png(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _metric_name(name: str) -> str:
    return _METRIC_NAMES.get(name, name.replace("_", " "))


def _metric_value(value: float, name: str) -> str:
    return f"{value:,.0f}" if name.endswith("count") else f"{value:.4f}"


def _metric_change(change: float | None, name: str) -> str:
    if change is None or name.endswith("count"):
        return ""
    return f"{change:+.4f}".replace("-", "\N{MINUS SIGN}")


def _lines(node_id: str, length: int) -> list[str]:
    """Breaks a name that is longer than that between its words."""
    lines = [""]
    for word in re.findall("[A-Z]?[^A-Z]+|[A-Z]+", node_id):
        if lines[-1] and len(lines[-1]) + len(word) > length:
            lines.append("")
        lines[-1] += word
    return lines
