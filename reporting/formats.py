"""How values are written on the pages."""

import base64
from datetime import datetime

_METRIC_NAMES = {
    "sparse_categorical_accuracy": "accuracy",
    "sparse_categorical_crossentropy": "cross-entropy",
    "example_count": "images",
    "auc": "AUC",
}


def time(moment: datetime) -> str:
    """Writes a time of day, to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def duration(seconds: float | None) -> str:
    """Writes seconds, in hours and minutes where they are many; None is empty."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def number(value: float | None, digits: int = 4, unit: str = "") -> str:
    """Writes a number with so many decimals; None is empty."""
    return "" if value is None else f"{value:.{digits}f} {unit}".rstrip()


def interval(bounds: tuple[float, float] | None) -> str:
    """Writes the bounds of a confidence interval; None is empty."""
    return "" if bounds is None else f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def count(value: int) -> str:
    """Writes how many there are of something."""
    return f"{value:,}"


def words(name: str) -> str:
    """Writes the name of a state, a verdict or a parameter."""
    return name.replace("_", " ")


def png(content: bytes) -> str:
    """Returns a PNG as an address that needs no file."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def metric_name(name: str) -> str:
    """Returns what people call one of TFMA's metrics."""
    return _METRIC_NAMES.get(name, words(name))


def metric_value(value: float | None, name: str) -> str:
    """Writes the value of one of TFMA's metrics; None is empty."""
    return number(value) if value is None or not name.endswith("count") else f"{value:,.0f}"


def metric_change(change: float | None, name: str) -> str:
    """Writes a change with its sign; None, and that of a count, is empty."""
    if change is None or name.endswith("count"):
        return ""
    return f"{change:+.4f}".replace("-", "\N{MINUS SIGN}")
