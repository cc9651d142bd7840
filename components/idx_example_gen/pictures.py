"""Pictures in folders: looked at by Beam in parallel; their bytes become examples as they are.

They are gone through twice: first all are decoded, for their hash and for what is wrong with them,
then those that belong together are written. Between the two only their names are kept.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import apache_beam as beam
import numpy as np
import tensorflow as tf
from PIL import ImageStat

from components.idx_example_gen.problem import Problem
from data import picture_folder, splits
from data.class_names import label_of
from data.layout import Layout, PictureFolder
from data.picture import TooManyPixelsError, pixel_digest, read_picture


@dataclass(frozen=True)
class PictureFile:
    """A picture of a folder of the layout.

    Attributes:
        place: position of its folder among the layout's folders.
        name: ``class/name``.
        path: where it is.
    """

    place: int
    name: str
    path: str


@dataclass(frozen=True)
class Looked:
    """What was seen of a picture.

    Attributes:
        place: as of the file.
        name: as of the file.
        digest: of the pixels.
        mean: of the grey pixels, 0 to 255.
        problem: a sentence about what is wrong with it; empty: nothing.
        is_misfit: as of a problem.
    """

    place: int
    name: str
    digest: int = 0
    mean: float = 0.0
    problem: str = ""
    is_misfit: bool = False


@dataclass(frozen=True)
class PictureBatch:
    """Pictures of one folder that go into one shard, in the order of names.

    Attributes:
        place: position of the folder in the layout, behind all pairs.
        folder: where they are, and what they are for.
        names: ``class/name`` of each.
        labels: of each.
        means: of each.
    """

    place: int
    folder: PictureFolder
    names: tuple[str, ...]
    labels: tuple[int, ...]
    means: tuple[float, ...]


def files_of(layout: Layout) -> list[PictureFile]:
    """Returns all pictures of a layout, in its order."""
    return [
        PictureFile(place, name, str(found.folder / name))
        for place, found in enumerate(layout.folders)
        for name in picture_folder.pictures(found.folder)
    ]


class Look(beam.DoFn):
    """Turns a file into what is seen of it, as a line of JSON."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels

    def process(self, element: PictureFile) -> Iterator[str]:
        yield json.dumps(asdict(self._look(element)))

    def _look(self, file: PictureFile) -> Looked:
        try:
            content = Path(file.path).read_bytes()
            picture = read_picture(content, self._max_pixels)
            if not picture.changes:
                # Pillow passes over a missing end, at which the model's graph stops.
                tf.io.decode_image(content, expand_animations=False)
        except tf.errors.InvalidArgumentError:
            reason = "its content is neither PNG nor JPEG, or damaged"
            return Looked(file.place, file.name, problem=f"{file.path}: {reason}")
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            return Looked(file.place, file.name, problem=f"{file.path}: {reason}")
        except ValueError as error:
            is_misfit = isinstance(error, TooManyPixelsError)
            problem = f"{file.path}: {error}"
            return Looked(file.place, file.name, problem=problem, is_misfit=is_misfit)
        if picture.changes:
            reason = (
                f"means another picture to a server than to people ({', '.join(picture.changes)}); "
                "`data prepare` and `data ingest` lay such pictures out"
            )
            return Looked(file.place, file.name, problem=f"{file.path}: {reason}")
        mean = ImageStat.Stat(picture.image.convert("L")).mean[0]
        return Looked(file.place, file.name, pixel_digest(picture.image), mean)


def read_looked(pattern: str) -> list[Looked]:
    """Reads what `Look` has written, in the order of the layout."""
    looked = []
    for path in tf.io.gfile.glob(pattern):
        with tf.io.gfile.GFile(path) as lines:
            looked += [Looked(**json.loads(line)) for line in lines]
    return sorted(looked, key=lambda found: (found.place, found.name))


def problems_with(
    looked: Sequence[Looked], layout: Layout, labels: Sequence[str]
) -> Iterator[Problem]:
    """Yields what is wrong with every picture and class that cannot be trained on."""
    for folder, own in zip(layout.folders, _by_folder(looked, layout), strict=True):
        for found in own:
            if found.problem:
                yield Problem(folder.origin, found.problem, found.is_misfit)
        for kind in sorted({_kind(found.name) for found in own}):
            if label_of(kind, labels) is None:
                sentence = f"{folder.folder / kind}: no class has this name"
                yield Problem(folder.origin, sentence, is_misfit=True)
        if not own:
            yield Problem(folder.origin, f"{folder.folder}: holds no image")


def batches(
    looked: Sequence[Looked], layout: Layout, labels: Sequence[str], per_shard: dict[str, int]
) -> Iterator[tuple[tuple[str, int, int], PictureBatch]]:
    """Yields, for every shard, the pictures of each folder that go into it.

    Args:
        looked: sound pictures, in the order of the layout.
        layout: whose folders they are in.
        labels: names of the classes.
        per_shard: how many shards there are, by split.
    """
    for place, own in enumerate(_by_folder(looked, layout)):
        folder = layout.folders[place]
        label = {kind: label_of(kind, labels) for kind in {_kind(found.name) for found in own}}
        hashes = np.array([found.digest for found in own], np.uint64)
        split_of = splits.split_of(folder.role, hashes)
        for position, split in enumerate(splits.SPLITS):
            total = per_shard[split]
            shard_of = splits.shard_of(hashes, total)
            for number in range(total):
                rows = np.flatnonzero((split_of == position) & (shard_of == number)).tolist()
                if rows:
                    batch = PictureBatch(
                        len(layout.pairs) + place,
                        folder,
                        tuple(own[row].name for row in rows),
                        tuple(label[_kind(own[row].name)] or 0 for row in rows),
                        tuple(own[row].mean for row in rows),
                    )
                    yield (split, number, total), batch


def count_by_split(looked: Sequence[Looked], layout: Layout) -> Counter[tuple[int, str]]:
    """Counts the pictures by the place of their folder and their split."""
    counts: Counter[tuple[int, str]] = Counter()
    for place, own in enumerate(_by_folder(looked, layout)):
        hashes = np.array([found.digest for found in own], np.uint64)
        for position in splits.split_of(layout.folders[place].role, hashes).tolist():
            counts[place, splits.SPLITS[position]] += 1
    return counts


def contents(batch: PictureBatch) -> Iterator[tuple[bytes, int, float]]:
    """Yields the bytes, the label and the mean of every picture."""
    for name, label, mean in zip(batch.names, batch.labels, batch.means, strict=True):
        yield (batch.folder.folder / name).read_bytes(), label, mean


def _by_folder(looked: Sequence[Looked], layout: Layout) -> list[list[Looked]]:
    of_folder: list[list[Looked]] = [[] for _ in layout.folders]
    for found in looked:
        of_folder[found.place].append(found)
    return of_folder


def _kind(name: str) -> str:
    return name.partition("/")[0]
