"""Reads every file once before any work is done, so that bad data costs seconds and is named."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter

from components.idx_example_gen.pictures import Looked, count_by_split, problems_with
from components.idx_example_gen.problem import Problem, spans_to_blame
from data import idx, spans, splits
from data.layout import Layout, Pair, is_span, span_of
from data.refusal import DataRefused
from files.kept import read_kept

_NAMED_POSITIONS = 5
_CLASSES = TypeAdapter(list[str])


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
    max_pixels: int,
    looked: Sequence[Looked] = (),
    labels: Sequence[str] = (),
) -> Counts:
    """Reads and checks all files of `layout`.

    Args:
        layout: what is read.
        class_count: labels are 0 to `class_count` - 1.
        max_pixels: of an image, width times height.
        looked: what was seen of its pictures.
        labels: names of the classes, which the folders of pictures are called by.

    Raises:
        DataRefused: with one sentence for every defect found, each naming its file; or naming the
            split that would be empty.
    """
    problems = [Problem(origin, sentence) for origin, sentence in layout.defects]
    counts: Counter[str] = Counter()
    by_span: Counter[int] = Counter()
    for pair in layout.pairs:
        try:
            images, numbers = read_pair(pair)
        except DataRefused as refusal:
            problems += [Problem(pair.origin, reason) for reason in refusal.reasons]
            continue
        misfits = _misfits(pair, images, numbers, class_count, max_pixels)
        problems += [Problem(pair.origin, misfit, is_misfit=True) for misfit in misfits]
        renumbered = _renumbered(pair, labels)
        problems += [Problem(pair.origin, sentence, is_misfit=True) for sentence in renumbered]
        if is_span(pair.origin):
            by_span[span_of(pair.origin)] += len(images)
        places = splits.split_of(pair.role, splits.digests(images))
        for position, count in enumerate(np.bincount(places, minlength=len(splits.SPLITS))):
            counts[splits.SPLITS[position]] += int(count)
    problems += problems_with(looked, layout, labels)
    for (place, split), count in count_by_split(looked, layout).items():
        counts[split] += count
        if is_span(layout.folders[place].origin):
            by_span[span_of(layout.folders[place].origin)] += count
    reasons = [problem.sentence for problem in problems]
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
        raise DataRefused(reasons, spans_to_blame(problems, layout))
    return Counts(dict(counts), dict(by_span))


def read_pair(pair: Pair) -> tuple[idx.Bytes, idx.Bytes]:
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
        reasons = _defects(pair, *arrays)
    if reasons:
        raise DataRefused(reasons)
    images, labels = arrays
    return images, labels


def _defects(pair: Pair, images: idx.Bytes, labels: idx.Bytes) -> list[str]:
    if images.size == 0:
        return [f"{pair.images}: holds no image"]
    if len(images) != len(labels):
        return [
            f"{pair.labels}: {len(labels)} labels for the {len(images)} images of {pair.images}"
        ]
    return []


def _misfits(
    pair: Pair, images: idx.Bytes, labels: idx.Bytes, class_count: int, max_pixels: int
) -> Iterator[str]:
    height, width = images.shape[1:]
    if width * height > max_pixels:
        yield (
            f"{pair.images}: its images have {width} x {height} pixels, more than {max_pixels:,} "
            "(serving.max_pixels)"
        )
    wrong = np.flatnonzero(labels >= class_count)
    if wrong.size:
        shown = ", ".join(f"{labels[place]} at {place}" for place in wrong[:_NAMED_POSITIONS])
        yield (
            f"{pair.labels}: {wrong.size} labels outside 0 to {class_count - 1} "
            f"({shown}{', ...' if wrong.size > _NAMED_POSITIONS else ''})"
        )


def _renumbered(pair: Pair, labels: Sequence[str]) -> Iterator[str]:
    """Says it where numbers stand for other classes now; a class may get another name, or come."""
    known = read_kept(pair.labels.with_name(spans.CLASSES_FILE), _CLASSES.validate_json) or []
    now = {name: number for number, name in enumerate(labels)}
    moved = [name for number, name in enumerate(known) if now.get(name, number) != number]
    if moved:
        was = ", ".join(f"{known.index(name)} was {name}" for name in moved[:_NAMED_POSITIONS])
        yield (
            f"{pair.labels}: its numbers stand for other classes than when it was taken in ({was}):"
            " keep that order in data.labels, with new classes at its end, or take the span out "
            "and its images in anew"
        )
