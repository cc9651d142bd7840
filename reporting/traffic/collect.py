"""Makes a traffic report: reads the recording, compares it, counts what was answered."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

from tensorflow_metadata.proto.v0.statistics_pb2 import DatasetFeatureStatistics

from pipeline.metadata_connection import connection_config
from pipeline.settings.config import Config
from pipeline.traffic.answers import answers_to
from pipeline.traffic.drift import FEATURES, Comparison, compare
from pipeline.traffic.live_labels import live_accuracy
from pipeline.traffic.report import TrafficReport, VariantTraffic
from pipeline.traffic.statistics import WHOLE, Picture, Statistics, of_pictures
from pipeline.traffic.training import NoTrainingData, training_statistics
from reporting.evidence import Evidence
from runs.metadata_store import StoredMetadata
from serving.edge.access_log import Access, read_access
from serving.edge.judge import ACCESS_LOG
from serving.edge.judgement import figures_of
from serving.traffic.origin import STABLE
from serving.traffic.reading import Answer, RecordedPicture, newest
from serving.versions.store import Version, VersionStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Collected:
    """A report, and what its page shows beside it.

    Attributes:
        report: the report.
        pictures: that were compared.
        answers: to each of them.
        traffic: statistics of them, by variant and of all; None: there are none.
        training: statistics of the part of the training data that they are most like.
    """

    report: TrafficReport
    pictures: list[RecordedPicture]
    answers: list[Answer | None]
    traffic: Statistics | None = None
    training: DatasetFeatureStatistics | None = None


def collect(config: Config, last: int | None) -> Collected:
    """Compares the newest recorded pictures with what the served version was trained on.

    Args:
        config: all settings.
        last: how many pictures; None: all that are recorded.
    """
    model = config.serving.model_name
    report = TrafficReport(at=datetime.now(UTC), model=model)
    report.accuracy = live_accuracy(config.traffic_dir)
    pictures = newest(config.recordings_dir, model, last, config.data.labels)
    store = VersionStore(config.serving_base)
    version = store.newest_served()
    report.version = version.number if version else None
    if not pictures:
        report.reasons.append(f"nothing is recorded in {config.recordings_dir}")
        return Collected(report, [], [])
    report.pictures = len(pictures)
    report.since, report.until = (_moment(pictures[place]) for place in (0, -1))
    answers = answers_to(pictures, store)
    report.variants = _variants(pictures, answers, _accesses(config, pictures[0].origin.time))
    if version is None or version.directory is None:
        report.reasons.append(f"no version is served from {config.serving_base}")
        return Collected(report, pictures, answers)
    shown = [Picture(each.encoded, each.origin.variant or STABLE) for each in pictures]
    traffic = of_pictures(shown, version.directory, config.beam.pipeline_args)
    if traffic is None:
        report.reasons.append(f"none of the {len(pictures)} recorded pictures can be decoded")
        return Collected(report, pictures, answers)
    try:
        training = training_statistics(
            version,
            _trained_on(version, config),
            config.traffic_dir / "training",
            config.beam.pipeline_args,
        )
    except NoTrainingData as error:
        report.reasons.append(str(error))
        return Collected(report, pictures, answers, traffic)
    comparison = compare(traffic[WHOLE], training, config.traffic.max_distance)
    report.compared_with = comparison.origin
    report.features = comparison.features
    report.drift = bool(comparison.drifted)
    report.reasons += _sentences(comparison)
    return Collected(report, pictures, answers, traffic, training[comparison.origin])


def _moment(picture: RecordedPicture) -> datetime:
    return datetime.fromtimestamp(picture.origin.time, UTC)


def _accesses(config: Config, since: float) -> list[Access]:
    """What the edge saw of the model since a moment, in seconds since 1970."""
    model = config.serving.model_name
    seen = read_access(config.edge_dir / ACCESS_LOG, since)
    return [access for access in seen if access.model == model and access.counts]


def _variants(
    pictures: Sequence[RecordedPicture],
    answers: Sequence[Answer | None],
    accesses: Sequence[Access],
) -> list[VariantTraffic]:
    found = []
    names = {picture.origin.variant or STABLE for picture in pictures}
    names |= {access.variant for access in accesses}
    for name in sorted(names, key=lambda each: (each != STABLE, each)):
        both = [
            (picture, answer)
            for picture, answer in zip(pictures, answers, strict=True)
            if (picture.origin.variant or STABLE) == name
        ]
        known = [answer.confidence for _, answer in both if answer]
        at_the_edge = figures_of(name, accesses) if accesses else None
        recorded = sum(picture.row == 0 for picture, _ in both)
        found.append(
            VariantTraffic(
                variant=name,
                versions=sorted({picture.origin.version for picture, _ in both}),
                requests=at_the_edge.requests if at_the_edge else recorded,
                errors=at_the_edge.errors if at_the_edge else None,
                p50_ms=at_the_edge.p50_ms if at_the_edge else None,
                p99_ms=at_the_edge.p99_ms if at_the_edge else None,
                pictures=len(both),
                confidence=fmean(known) if known else None,
            )
        )
    return found


def _trained_on(version: Version, config: Config) -> Path | None:
    """Finds the examples of the run that made a version; None: the metadata does not know it."""
    if version.record is None:
        return None
    if config.metadata.host is None and not config.metadata_path.is_file():
        return None
    with StoredMetadata(connection_config(config)) as handle:
        found = Evidence(handle.store, version.record.run_id).output("IdxExampleGen", "examples")
    return found.path if found else None


def _sentences(comparison: Comparison) -> list[str]:
    return [
        f"{each.feature} ({FEATURES[each.feature]}) is {each.distance:.3f} from training, "
        f"allowed is {each.limit:.3f}"
        + (
            f"; chance explains that in at most {max(each.probability, 1e-6):.1g} of all samples"
            if each.probability is not None
            else ""
        )
        for each in comparison.drifted
    ]
