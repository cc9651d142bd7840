"""The statistics that traffic is compared with: those of what a served version was trained on.

They are computed when they are first asked for and kept in the workdir, under the checksum of the
model and that of the code that measures. Measures of pictures come from what was trained on;
predictions from what was held out, because a model is surer of what it was fitted to.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from google.protobuf.message import DecodeError
from tensorflow_metadata.proto.v0 import statistics_pb2

from files.kept import read_kept
from files.whole import write_whole
from pipeline.fingerprint import module_digests
from pipeline.traffic.statistics import CONFIDENCE, LABEL, WHOLE, Statistics, of_examples
from serving.versions.store import Version

logger = logging.getLogger(__name__)

_PREDICTIONS = (LABEL, CONFIDENCE)
_TRAINED = "train"
_HELD_OUT = "validation"


class NoTrainingData(Exception):
    """What the version was trained on is not there any more."""


def training_statistics(
    version: Version, examples: Path | None, folder: Path, beam_args: Sequence[str]
) -> Statistics:
    """Returns the statistics of a version's training data, by origin and of all.

    Args:
        version: a served one, with a record.
        examples: the artifact that it was trained on; None: it is not known any more.
        folder: where statistics are kept.
        beam_args: options of Beam.

    Raises:
        NoTrainingData: they are not kept, and the examples are gone.
    """
    file = folder / f"{version.number}-{_digest(version)}.pb"
    if (kept := read_kept(file, _parse)) is not None:
        return kept
    if examples is None or not (examples / f"Split-{_TRAINED}").is_dir():
        raise NoTrainingData(
            f"what version {version.number} was trained on is not in this workdir; its statistics "
            "can only be counted where it was trained"
        )
    logger.info("counting what version %d was trained on", version.number)
    trained = of_examples(f"{examples}/Split-{_TRAINED}/*", None, beam_args)
    # So few images may have been ingested that none of them is held out.
    has_held_out = any((examples / f"Split-{_HELD_OUT}").glob("*"))
    held_out = (
        of_examples(f"{examples}/Split-{_HELD_OUT}/*", version.directory, beam_args)
        if has_held_out
        else None
    )
    if trained is None:
        raise NoTrainingData(f"none of the pictures in {examples} can be read")
    for origin, statistics in trained.items():
        statistics.name = origin
        if held_out and origin in held_out:
            predictions = (
                each for each in held_out[origin].features if each.path.step[0] in _PREDICTIONS
            )
            statistics.features.extend(predictions)
    content = statistics_pb2.DatasetFeatureStatisticsList(datasets=trained.values())
    write_whole(file, content.SerializeToString())
    return trained


def _parse(content: bytes) -> Statistics:
    try:
        kept = statistics_pb2.DatasetFeatureStatisticsList.FromString(content)
    except DecodeError as error:
        raise ValueError(str(error)) from error
    found = {each.name: each for each in kept.datasets}
    if WHOLE not in found:
        raise ValueError(f"it has no {WHOLE}")
    return found


def _digest(version: Version) -> str:
    checksums = version.record.checksums if version.record else {}
    measured_by = module_digests(["pipeline.traffic.statistics"])
    content = json.dumps([checksums, measured_by], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
