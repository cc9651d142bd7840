"""What was answered to recorded pictures: as it was recorded, or as the version answers again."""

import logging
from collections import defaultdict
from collections.abc import Sequence

from pipeline.traffic.statistics import predict
from serving.traffic.reading import Answer, RecordedPicture
from serving.versions.store import VersionStore

logger = logging.getLogger(__name__)


def answers_to(pictures: Sequence[RecordedPicture], store: VersionStore) -> list[Answer | None]:
    """Returns the answer to each picture; None: it cannot be read, or its version is gone.

    Args:
        pictures: recorded ones, with or without their answers.
        store: holds the versions, which give the same answer as when they were asked.
    """
    answers = [picture.answer for picture in pictures]
    unanswered = defaultdict(list)
    for place, picture in enumerate(pictures):
        if picture.answer is None:
            unanswered[picture.origin.version].append(place)
    directories = {each.number: each.directory for each in store.versions() if each.directory}
    for version, places in unanswered.items():
        if (directory := directories.get(version)) is None:
            logger.info("version %d is gone: %d answers are not known", version, len(places))
            continue
        encoded = [pictures[place].encoded for place in places]
        found = predict(directory, encoded)
        for row, label, confidence in zip(found.rows, found.labels, found.confidences, strict=True):
            answers[places[row]] = Answer(label, float(confidence))
    return answers
