"""Reads every file once before any work is done, so that bad data costs seconds and is named."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.idx_example_gen.pictures import Looked, count_by_split, problems_with
from data import idx, splits
from data.layout import BASE_ORIGIN, Layout, Pair, is_span, span_of
from data.refusal import DataRefused

_NAMED_POSITIONS = 5


@dataclass(frozen=True)
class Counts:
    """How many examples there are.

    Attributes:
        by_split: in each split.
        by_span: in each span.
    """

    by_split: dict[str, int]
    by_span: dict[int, int]


def verify(
    layout: Layout,
    class_count: int,
    looked: Sequence[Looked] = (),
    labels: Sequence[str] = (),
) -> Counts:
    """Reads and checks all files of `layout`.

    Args:
        layout: what is read.
        class_count: labels are 0 to `class_count` - 1.
        looked: what was seen of its pictures.
        labels: names of the classes, which the folders of pictures are called by.

    Raises:
        DataRefused: with one sentence for every defect found, each naming its file; or naming the
            split that would be empty.
    """
    reasons = [problem for _, problem in layout.defects]
    blamed = {origin for origin, _ in layout.defects}
    counts: Counter[str] = Counter()
    by_span: Counter[int] = Counter()
    for pair in layout.pairs:
        try:
            images, _ = read_pair(pair, class_count)
        except DataRefused as refusal:
            reasons.extend(refusal.reasons)
            blamed.add(pair.origin)
            continue
        if is_span(pair.origin):
            by_span[span_of(pair.origin)] += len(images)
        places = splits.split_of(pair.role, splits.digests(images))
        for position, count in enumerate(np.bincount(places, minlength=len(splits.SPLITS))):
            counts[splits.SPLITS[position]] += int(count)
    for origin, problem in problems_with(looked, layout, labels):
        reasons.append(problem)
        blamed.add(origin)
    for (place, split), count in count_by_split(looked, layout).items():
        counts[split] += count
        if is_span(layout.folders[place].origin):
            by_span[span_of(layout.folders[place].origin)] += count
    if not reasons:
        files = ", ".join(
            [
                *(str(pair.images) for pair in layout.pairs),
                *(str(found.folder) for found in layout.folders),
            ]
        )
        reasons = [
            f"{files}: too few images, none falls into the split {split}"
            for split in splits.SPLITS
            if not counts[split]
        ]
    if reasons:
        # What is wrong with the base as well may be a setting, such as the labels.
        own = [] if BASE_ORIGIN in blamed else [span_of(origin) for origin in blamed]
        raise DataRefused(reasons, own)
    return Counts(dict(counts), dict(by_span))


def read_pair(pair: Pair, class_count: int) -> tuple[idx.Bytes, idx.Bytes]:
    """Reads a pair: uint8 [examples, height, width] and uint8 [examples].

    Raises:
        DataRefused: a file cannot be read, holds no image, or the two do not fit together.
    """
    reasons: list[str] = []
    arrays: list[idx.Bytes] = []
    for read, path in ((idx.read_images, pair.images), (idx.read_labels, pair.labels)):
        try:
            arrays.append(read(path))
        except idx.IdxError as error:
            reasons.append(str(error))
    if not reasons:
        reasons = _misfits(pair, arrays, class_count)
    if reasons:
        raise DataRefused(reasons)
    images, labels = arrays
    return images, labels


def _misfits(pair: Pair, arrays: Sequence[idx.Bytes], class_count: int) -> list[str]:
    images, labels = arrays
    if images.size == 0:
        return [f"{pair.images}: holds no image"]
    if len(images) != len(labels):
        return [
            f"{pair.labels}: {len(labels)} labels for the {len(images)} images of {pair.images}"
        ]
    wrong = np.flatnonzero(labels >= class_count)
    if not wrong.size:
        return []
    shown = ", ".join(f"{labels[place]} at {place}" for place in wrong[:_NAMED_POSITIONS])
    return [
        f"{pair.labels}: {wrong.size} labels outside 0 to {class_count - 1} "
        f"({shown}{', ...' if wrong.size > _NAMED_POSITIONS else ''})"
    ]
