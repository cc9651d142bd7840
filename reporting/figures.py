"""Draws the plots of the pages."""

from collections.abc import Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from reporting.page import (
    CalibrationBin,
    ClassMetrics,
    Epoch,
    ListedVersion,
    OriginStatistics,
    SignatureLatency,
)
from reporting.svg import INK, LINE, SERIES, STYLE, svg_of

_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 1.5, 1.5, 1.5)))
_MARKERS = ("o", "s", "^", "D")
# In points, so that a column of half the page, or a phone, shows text in a readable size.
_WIDTH, _HEIGHT = 400, 260
_TOP, _BOTTOM, _ROW_HEIGHT = 26, 44, 16
# Shares of the width.
_LEFT_OF_NUMBERS = 0.13
_LEFT_OF_NAMES, _MOST_LEFT_OF_NAMES, _LETTER = 0.27, 0.45, 0.016
_LETTERS = 26
_MARKED_POINTS = 40


def loss_curves(epochs: Sequence[Epoch]) -> str:
    """Cross-entropy by epoch, on the training and the validation images."""
    return _curves(
        "loss",
        epochs,
        [epoch.loss for epoch in epochs],
        [epoch.validation_loss for epoch in epochs],
        "cross-entropy",
    )


def accuracy_curves(epochs: Sequence[Epoch]) -> str:
    """Accuracy by epoch, on the training and the validation images."""
    return _curves(
        "accuracy",
        epochs,
        [epoch.accuracy for epoch in epochs],
        [epoch.validation_accuracy for epoch in epochs],
        "accuracy",
    )


def brightness(parts: Sequence[tuple[str, OriginStatistics]]) -> str:
    """The density of the images' mean pixel, a line for each named part of the data."""
    with rc_context(STYLE):
        figure, axes = new_figure(0.06)
        draw_densities(axes, [(name, *_brightness_density(part)) for name, part in parts])
        axes.set_xlabel("mean pixel of an image, 0 to 255")
        return svg_of(figure, "brightness")


def _brightness_density(part: OriginStatistics) -> tuple[list[float], list[float]]:
    total = sum(bucket.count for bucket in part.brightness) or 1
    edges = [bucket.low for bucket in part.brightness] + [part.brightness[-1].high]
    heights = [
        bucket.count / total / max(bucket.high - bucket.low, 1e-9) for bucket in part.brightness
    ]
    return edges, heights


def class_shares(parts: Sequence[tuple[str, OriginStatistics]]) -> str:
    """The share of each class, a mark for each named part of the data."""
    labels = list(parts[0][1].classes)
    with rc_context(STYLE):
        figure, axes = rows_figure(labels)
        for place, (name, part) in enumerate(parts):
            shares = [part.classes[label] / max(part.examples, 1) for label in labels]
            draw_shares(axes, place, name, shares)
        most = max(
            part.classes[label] / max(part.examples, 1) for _, part in parts for label in labels
        )
        axes.set_xlim(0, 1.08 * most or 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        add_legend(axes)
        return svg_of(figure, "classes")


def recalls(classes: Sequence[ClassMetrics]) -> str:
    """Recall of each class, and the served model's where there is one."""
    # A class without images has none.
    classes = [quality for quality in classes if "recall" in quality.metrics]
    found = [quality.metrics["recall"] for quality in classes]
    rows = range(len(found))
    with rc_context(STYLE):
        figure, axes = rows_figure([quality.label for quality in classes])
        before = {row: value for row in rows if (value := found[row].baseline) is not None}
        if before:
            served, places = list(before.values()), list(before)
            axes.hlines(places, served, [found[row].value for row in before], color=LINE)
            axes.plot(
                served,
                places,
                "s",
                color=SERIES[1],
                markersize=8,
                markerfacecolor="none",
                label="served model",
            )
        axes.plot(
            [metric.value for metric in found], rows, "o", color=SERIES[0], label="this model"
        )
        axes.set_xlabel("recall")
        if before:
            add_legend(axes)
        return svg_of(figure, "recalls")


def reliability(bins: Sequence[CalibrationBin]) -> str:
    """How often a prediction of some probability was right, against that probability."""
    most = max(part.images for part in bins)
    with rc_context(STYLE):
        figure, axes = new_figure()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=1, linestyle=_DASHES[2], alpha=0.7)
        axes.bar(
            [part.low for part in bins],
            [0.25 * part.images / most for part in bins],
            width=[part.high - part.low for part in bins],
            align="edge",
            color=LINE,
            label="share of the images",
        )
        axes.plot(
            [part.confidence for part in bins],
            [part.accuracy for part in bins],
            "o-",
            color=SERIES[0],
            label="right",
        )
        axes.set_xlabel("probability of the predicted class")
        axes.set_ylabel("share that is right")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.04)
        add_legend(axes)
        return svg_of(figure, "reliability")


def latencies(signatures: Sequence[SignatureLatency]) -> str:
    """Median and 99th percentile of each signature."""
    rows = range(len(signatures))
    medians = [each.p50_ms for each in signatures]
    tails = [each.p99_ms for each in signatures]
    with rc_context(STYLE):
        figure, axes = rows_figure([each.signature for each in signatures])
        axes.hlines(rows, medians, tails, color=LINE, linewidth=2)
        axes.plot(medians, rows, "o", color=SERIES[0], label="median")
        axes.plot(tails, rows, "s", color=SERIES[1], label="99th percentile")
        axes.set_xlim(left=0)
        axes.set_xlabel("milliseconds")
        add_legend(axes)
        return svg_of(figure, "latencies")


def version_accuracies(versions: Sequence[ListedVersion]) -> str:
    """Accuracy over the versions."""
    values = [version.accuracy for version in versions]
    return _over_versions("accuracies", versions, {"accuracy": values}, "accuracy")


def version_sizes(versions: Sequence[ListedVersion]) -> str:
    """Size of the SavedModel over the versions."""
    values = [version.megabytes for version in versions]
    return _over_versions("sizes", versions, {"size": values}, "MB", from_zero=True)


def version_latencies(versions: Sequence[ListedVersion]) -> str:
    """Latencies of the default signature over the versions."""
    found = [version.latency for version in versions]
    series = {
        "median": [latency.p50_ms if latency else None for latency in found],
        "99th percentile": [latency.p99_ms if latency else None for latency in found],
    }
    return _over_versions("version-latencies", versions, series, "milliseconds", from_zero=True)


def _curves(
    name: str,
    epochs: Sequence[Epoch],
    training: Sequence[float],
    validation: Sequence[float],
    label: str,
) -> str:
    numbers = [epoch.number for epoch in epochs]
    marker = "o" if len(epochs) <= _MARKED_POINTS else ""
    with rc_context(STYLE):
        figure, axes = new_figure()
        for place, (series, values) in enumerate(
            [("training", training), ("validation", validation)]
        ):
            axes.plot(
                numbers,
                values,
                color=series_color(place),
                linestyle=series_dash(place),
                marker=marker,
                markersize=3.5,
                label=series,
            )
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        add_legend(axes)
        return svg_of(figure, name)


def _over_versions(
    name: str,
    versions: Sequence[ListedVersion],
    series: dict[str, list[float | None]],
    label: str,
    *,
    from_zero: bool = False,
) -> str:
    if not any(value is not None for values in series.values() for value in values):
        return ""
    with rc_context(STYLE):
        figure, axes = new_figure()
        for place, (title, values) in enumerate(series.items()):
            known = [(x, value) for x, value in enumerate(values) if value is not None]
            axes.plot(
                [x for x, _ in known],
                [value for _, value in known],
                marker=series_marker(place),
                linestyle=series_dash(place),
                color=series_color(place),
                label=title,
            )
        step = max(1, len(versions) // 4)
        places = range(0, len(versions), step)
        dates = [f"{versions[place].pushed_at:%m-%d\n%H:%M}" for place in places]
        axes.set_xticks(list(places), dates)
        axes.set_xlim(-0.5, len(versions) - 0.5)
        axes.set_ylabel(label)
        if from_zero:
            axes.set_ylim(bottom=0)
        if len(series) > 1:
            add_legend(axes)
        return svg_of(figure, name)


def rows_figure(labels: Sequence[str]) -> tuple[Figure, Axes]:
    """Returns axes with a named row for each label, the first one on top."""
    needed = _LETTER * max(map(len, labels), default=0) + 0.03
    left = min(max(_LEFT_OF_NAMES, needed), _MOST_LEFT_OF_NAMES)
    figure, axes = new_figure(left, len(labels))
    axes.set_yticks(range(len(labels)), [_shorten(label) for label in labels])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    return figure, axes


def new_figure(left: float = _LEFT_OF_NUMBERS, rows: int = 0) -> tuple[Figure, Axes]:
    height = max(_HEIGHT, _ROW_HEIGHT * rows + _TOP + _BOTTOM)
    figure = Figure(figsize=(_WIDTH / 72, height / 72))
    # Matplotlib can find the margins by itself, by drawing everything twice.
    figure.subplots_adjust(left=left, right=0.985, bottom=_BOTTOM / height, top=1 - _TOP / height)
    return figure, figure.subplots()


def _shorten(label: str) -> str:
    return label if len(label) <= _LETTERS else f"{label[: _LETTERS - 1]}…"


def draw_densities(
    axes: Axes, parts: Sequence[tuple[str, Sequence[float], Sequence[float]]]
) -> None:
    """Draws a line for each part: its name, the edges of its buckets and their heights."""
    for place, (name, edges, heights) in enumerate(parts):
        axes.stairs(
            heights,
            edges,
            label=name,
            color=series_color(place),
            linestyle=series_dash(place),
            linewidth=2,
        )
    axes.set_yticks([])
    axes.set_ylabel("density")
    add_legend(axes)


def draw_shares(axes: Axes, place: int, name: str, shares: Sequence[float]) -> None:
    """Draws a mark on each row for the shares of one part, which is at `place` among the parts."""
    axes.plot(
        shares,
        range(len(shares)),
        series_marker(place),
        color=series_color(place),
        # So that a mark behind another one can be seen around it.
        markersize=5 + 3 * place,
        markerfacecolor=series_color(place) if place == 0 else "none",
        label=name,
    )


def add_legend(axes: Axes) -> None:
    figure = axes.get_figure()
    assert figure is not None
    figure.legend(loc="upper left", bbox_to_anchor=(0, 1), ncols=4, columnspacing=1.5)


def series_color(place: int) -> str:
    return SERIES[place % len(SERIES)]


def series_dash(place: int) -> Any:
    return _DASHES[place % len(_DASHES)]


def series_marker(place: int) -> str:
    return _MARKERS[place % len(_MARKERS)]
