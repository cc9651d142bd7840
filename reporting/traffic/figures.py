"""Draws the plots of the traffic page."""

from collections.abc import Mapping, Sequence

from matplotlib import rc_context
from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatistics, Histogram

from pipeline.traffic.report import TrafficReport
from reporting.figures import (
    add_legend,
    draw_densities,
    draw_shares,
    new_figure,
    rows_figure,
    series_color,
    series_dash,
    series_marker,
)
from reporting.svg import STYLE, svg_of

_SHOWN_OVER_TIME = 4


def distribution(feature: str, parts: Mapping[str, DatasetFeatureStatistics]) -> str:
    """The density of a number, a line for each named part; empty where no part has it."""
    densities = {name: _density(part, feature) for name, part in parts.items()}
    shown = {name: each for name, each in densities.items() if each}
    if not shown:
        return ""
    with rc_context(STYLE):
        figure, axes = new_figure(0.06)
        draw_densities(axes, [(name, *density) for name, density in shown.items()])
        return svg_of(figure, f"traffic-{feature}")


def label_shares(feature: str, parts: Mapping[str, DatasetFeatureStatistics]) -> str:
    """The share of each label, a mark for each named part; empty where no part has any."""
    counts = {name: _label_counts(part, feature) for name, part in parts.items()}
    labels = sorted({label for each in counts.values() for label in each})
    if not labels:
        return ""
    with rc_context(STYLE):
        figure, axes = rows_figure(labels)
        for place, (name, each) in enumerate(counts.items()):
            total = sum(each.values()) or 1
            draw_shares(axes, place, name, [each.get(label, 0) / total for label in labels])
        axes.set_xlim(left=0)
        add_legend(axes)
        return svg_of(figure, f"traffic-{feature}")


def over_time(reports: Sequence[TrafficReport]) -> str:
    """The distances of the features that moved furthest, over the reports, oldest first."""
    distances = [{each.feature: each.distance for each in report.features} for report in reports]
    furthest = {
        name: max(each.get(name, 0.0) for each in distances)
        for name in dict.fromkeys(name for each in distances for name in each)
    }
    names = sorted(furthest, key=lambda name: -furthest[name])[:_SHOWN_OVER_TIME]
    if len(reports) < 2 or not names:
        return ""
    with rc_context(STYLE):
        figure, axes = new_figure()
        for place, name in enumerate(names):
            axes.plot(
                range(len(reports)),
                [each.get(name, float("nan")) for each in distances],
                marker=series_marker(place),
                linestyle=series_dash(place),
                color=series_color(place),
                label=name.replace("_", " "),
            )
        step = max(1, len(reports) // 4)
        places = range(0, len(reports), step)
        axes.set_xticks(list(places), [f"{reports[each].at:%m-%d\n%H:%M}" for each in places])
        axes.set_ylabel("distance")
        axes.set_ylim(bottom=0)
        add_legend(axes)
        return svg_of(figure, "traffic-over-time")


def _density(
    part: DatasetFeatureStatistics, feature: str
) -> tuple[list[float], list[float]] | None:
    for found in part.features:
        if found.path.step[0] == feature and found.HasField("num_stats"):
            for histogram in found.num_stats.histograms:
                if histogram.type == Histogram.STANDARD and histogram.buckets:
                    buckets = histogram.buckets
                    total = sum(each.sample_count for each in buckets) or 1
                    edges = [buckets[0].low_value, *(each.high_value for each in buckets)]
                    heights = [
                        each.sample_count / total / max(each.high_value - each.low_value, 1e-9)
                        for each in buckets
                    ]
                    return edges, heights
    return None


def _label_counts(part: DatasetFeatureStatistics, feature: str) -> dict[str, float]:
    for found in part.features:
        if found.path.step[0] == feature:
            buckets = found.string_stats.rank_histogram.buckets
            return {each.label: each.sample_count for each in buckets}
    return {}
