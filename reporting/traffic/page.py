"""The page of live traffic: what it is like beside training, who answered it, what stands out."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tensorflow_metadata.proto.v0 import statistics_pb2

from files.whole import write_whole
from pipeline.settings.config import Config
from pipeline.traffic.drift import FEATURES
from pipeline.traffic.measures import MEASURES, measure
from pipeline.traffic.report import TrafficReport, kept_reports
from pipeline.traffic.statistics import LABEL, WHOLE, decode
from reporting.render import render
from reporting.traffic import figures
from reporting.traffic.collect import Collected

PAGE_NAME = "report.html"
REPORTS = "reports"

_SHOWN_PICTURES = 24
_EARLIER_REPORTS = 60
_THUMBNAIL = 56


@dataclass(frozen=True)
class ShownPicture:
    """A recorded picture on the page."""

    png: bytes
    name: str
    answer: str
    note: str


@dataclass(frozen=True)
class Plot:
    """A plot, its title and what it shows in words."""

    svg: str
    title: str
    note: str


@dataclass(frozen=True)
class TrafficPage:
    """All that the page shows.

    Attributes:
        report: the newest report.
        plots: of the features, those that drifted first.
        least_confident: pictures whose answer was least sure.
        most_unusual: pictures least like training.
        earlier: reports before this one, newest first.
        over_time: a plot of the distances; empty for a first report.
    """

    report: TrafficReport
    plots: list[Plot]
    least_confident: list[ShownPicture]
    most_unusual: list[ShownPicture]
    earlier: list[TrafficReport]
    over_time: str


def write_page(collected: Collected, config: Config) -> Path:
    """Writes `traffic/report.html` in the workdir and returns its path.

    Raises:
        OSError: it cannot be written.
    """
    path = config.traffic_dir / PAGE_NAME
    page = _page_of(collected, config.traffic_dir / REPORTS)
    write_whole(path, render("traffic.html.j2", page=page))
    return path


def _page_of(collected: Collected, reports: Path) -> TrafficPage:
    earlier = list(_newest(reports))
    oldest_first = [*reversed(earlier), collected.report]
    return TrafficPage(
        report=collected.report,
        plots=list(_plots(collected)),
        least_confident=_least_confident(collected),
        most_unusual=_most_unusual(collected),
        earlier=earlier,
        over_time=figures.over_time(oldest_first),
    )


def _newest(reports: Path) -> Iterator[TrafficReport]:
    for place, report in enumerate(kept_reports(reports)):
        if place == _EARLIER_REPORTS:
            return
        yield report


def _plots(collected: Collected) -> Iterator[Plot]:
    if collected.traffic is None:
        return
    parts: dict[str, statistics_pb2.DatasetFeatureStatistics] = {}
    if collected.training is not None:
        parts["training"] = collected.training
    parts |= {name: each for name, each in sorted(collected.traffic.items()) if name != WHOLE}
    names = [each.feature for each in collected.report.features] or list(FEATURES)
    for name in names:
        draw = figures.label_shares if name == LABEL else figures.distribution
        yield Plot(draw(name, parts), name.replace("_", " "), FEATURES[name])


def _least_confident(collected: Collected) -> list[ShownPicture]:
    both = zip(collected.pictures, collected.answers, strict=True)
    known = [(picture, answer) for picture, answer in both if answer]
    known.sort(key=lambda each: each[1].confidence)
    return [
        ShownPicture(
            thumbnail(picture.encoded), picture.name, answer.label, f"{answer.confidence:.3f}"
        )
        for picture, answer in known[:_SHOWN_PICTURES]
    ]


def _most_unusual(collected: Collected) -> list[ShownPicture]:
    if collected.training is None:
        return []
    looked = decode([picture.encoded for picture in collected.pictures])
    names, deviations = _deviations(measure(looked.images), collected.training)
    worst = deviations.argmax(axis=0)
    furthest = deviations.max(axis=0)
    shown = []
    for place in np.argsort(-furthest, kind="stable")[:_SHOWN_PICTURES]:
        row = looked.rows[place]
        picture, answer = collected.pictures[row], collected.answers[row]
        feature = names[worst[place]].replace("_", " ")
        note = f"{feature}: {furthest[place]:.1f} standard deviations"
        label = answer.label if answer else ""
        shown.append(ShownPicture(thumbnail(picture.encoded), picture.name, label, note))
    return shown


def _deviations(
    measured: Mapping[str, np.ndarray], training: statistics_pb2.DatasetFeatureStatistics
) -> tuple[Sequence[str], np.ndarray]:
    """Distances from the mean of training in its standard deviations, [measures, pictures]."""
    stats = {each.path.step[0]: each.num_stats for each in training.features}
    names = [name for name in MEASURES if name in stats]
    rows = [
        np.abs(measured[name] - stats[name].mean) / max(stats[name].std_dev, 1e-6) for name in names
    ]
    return names, np.array(rows)


def thumbnail(encoded: bytes) -> bytes:
    """Returns a picture as a small PNG; one that cannot be read is grey."""
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as opened:
            opened.draft("RGB", (_THUMBNAIL, _THUMBNAIL))
            image = opened.convert("RGB")
    except Exception:  # Pillow raises nearly anything on what others decode
        image = Image.new("RGB", (_THUMBNAIL, _THUMBNAIL), "grey")
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()
