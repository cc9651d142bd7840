"""Which IDX files and folders of pictures of a data root one run reads, and what each is for.

Nothing heavy is imported, so that asking whether there is new data costs nothing.
"""

import enum
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import picture_folder
from files.memory import FileMemory

BASE_ORIGIN = "base"
_SPAN_ORIGIN = "span-"

_BASE_FOLDER = "base"
_FORMER_BASE_FOLDER = "official"
_SPANS_FOLDER = "spans"

# The parts of the base set, by what the IDX files of each begin with.
_PICTURES_OF = {"train-": "train", "t10k-": "test", "": ""}
_FILE_NAME = re.compile(r"(?P<part>train-|t10k-|)(?P<kind>images-idx3|labels-idx1)-ubyte(\.gz)?")


class Role(enum.Enum):
    """What the examples of a pair of files are for; `splits.split_of` turns it into splits."""

    TRAINING = "training"
    NEW_SPAN = "new span"
    TEST = "test"


@dataclass(frozen=True)
class Pair:
    """An image file and its label file.

    Attributes:
        origin: value of the feature `origin`: ``base`` or ``span-N``.
        role: what its examples are for.
        images: the IDX image file.
        labels: the IDX label file.
    """

    origin: str
    role: Role
    images: Path
    labels: Path


@dataclass(frozen=True)
class PictureFolder:
    """A folder with a folder of PNG and JPEG files for each class.

    Attributes:
        origin: as of a pair.
        role: as of a pair.
        folder: where the classes' folders are.
    """

    origin: str
    role: Role
    folder: Path


@dataclass(frozen=True)
class Layout:
    """What one run reads.

    Attributes:
        spans: the span numbers, ascending.
        new_spans: those of them that are judged, because no served version was trained on them.
        pairs: the files, in the order in which their examples come.
        defects: by origin, one sentence per file that is missing or there twice.
        folders: the pictures, whose examples come after those of the pairs.
    """

    spans: tuple[int, ...]
    new_spans: tuple[int, ...]
    pairs: tuple[Pair, ...]
    defects: tuple[tuple[str, str], ...]
    folders: tuple[PictureFolder, ...] = ()

    @property
    def newest_span(self) -> int:
        """The newest span that is read, 0 when none is."""
        return max(self.spans, default=0)

    def fingerprint(self, memory: FileMemory | None = None) -> str:
        """SHA-256 over what each file is for and over its content, in hexadecimal.

        Args:
            memory: knows the files that did not change; None: each is read.
        """
        memory = memory or FileMemory()
        contents = [
            (pair.origin, pair.role.value, *content)
            for pair in self.pairs
            for content in _contents(pair, memory)
        ]
        contents += [
            (found.origin, found.role.value, *content)
            for found in self.folders
            for content in picture_folder.digests(found.folder, memory).items()
        ]
        return _digest([contents, self.defects])

    def digest(self, origin: str, memory: FileMemory | None = None) -> str:
        """SHA-256 over the content of the files of an origin, in hexadecimal; as `fingerprint`."""
        memory = memory or FileMemory()
        contents = [_contents(pair, memory) for pair in self.pairs if pair.origin == origin]
        contents += [
            list(picture_folder.digests(found.folder, memory).items())
            for found in self.folders
            if found.origin == origin
        ]
        return _digest(contents)


def base_folder(root: Path) -> Path:
    """The folder of the base set: ``base``, or ``official`` where that is what there is."""
    former = root / _FORMER_BASE_FOLDER
    return former if former.is_dir() and not (root / _BASE_FOLDER).exists() else root / _BASE_FOLDER


def spans_folder(root: Path) -> Path:
    """The folder that holds a folder for each span."""
    return root / _SPANS_FOLDER


def origin_of(span: int) -> str:
    """The value of the feature `origin` for the examples of a span."""
    return f"{_SPAN_ORIGIN}{span}"


def span_of(origin: str) -> int:
    """The span that `origin_of` named so; raises ValueError for any other origin."""
    return int(origin.removeprefix(_SPAN_ORIGIN))


def is_span(origin: str) -> bool:
    """Whether an origin is a span, and not the base."""
    return origin.startswith(_SPAN_ORIGIN)


def resolve(
    root: Path,
    spans: Sequence[int],
    new_spans: Collection[int] = (),
    *,
    include_base: bool = True,
) -> Layout:
    """Finds the files that a run reads.

    Args:
        root: the data root.
        spans: the spans to train on.
        new_spans: those of them of which a part is held out and judged.
        include_base: whether the training images of the base are trained on as well; without a
            span they are in any case. Its test images are always judged on.
    """
    pairs: list[Pair] = []
    folders: list[PictureFolder] = []
    defects: list[tuple[str, str]] = []

    def add(origin: str, role: Role, folder: Path, part: str) -> None:
        files = _files(folder, part)
        of_pictures = folder / _PICTURES_OF[part]
        if not files and picture_folder.has_pictures(of_pictures):
            defects.extend((origin, defect) for defect in picture_folder.defects(of_pictures))
            folders.append(PictureFolder(origin, role, of_pictures))
            return
        problems = _problems(files, folder, part)
        defects.extend((origin, problem) for problem in problems)
        if not problems:
            pairs.append(Pair(origin, role, files["images-idx3"][0], files["labels-idx1"][0]))

    ordered = sorted(spans)
    base = base_folder(root)
    if include_base or not ordered:
        add(BASE_ORIGIN, Role.TRAINING, base, "train-")
    for span in ordered:
        role = Role.NEW_SPAN if span in new_spans else Role.TRAINING
        add(origin_of(span), role, spans_folder(root) / str(span), "")
    add(BASE_ORIGIN, Role.TEST, base, "t10k-")
    judged = tuple(span for span in ordered if span in new_spans)
    return Layout(tuple(ordered), judged, tuple(pairs), tuple(defects), tuple(folders))


def is_complete(span: Path) -> bool:
    """Whether a span's folder has both of its files, under the names that they keep.

    Tools that copy write under a name that begins with a dot, and rename at the end. A span of
    pictures is complete when all that its list of checksums names is there.
    """
    files = _files(span, "")
    if not files:
        return picture_folder.is_complete(span)
    return all(files[kind] for kind in ("images-idx3", "labels-idx1"))


def _files(folder: Path, part: str) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.glob("*")):
        match = _FILE_NAME.fullmatch(path.name)
        if match and match.group("part") == part and path.is_file():
            files[match.group("kind")].append(path)
    return files


def _problems(files: dict[str, list[Path]], folder: Path, part: str) -> list[str]:
    problems = []
    for kind in ("images-idx3", "labels-idx1"):
        found = files[kind]
        name = folder / f"{part}{kind}-ubyte"
        if not found:
            problems.append(f"{name}: neither this file nor its .gz is there")
        elif len(found) > 1:
            problems.append(f"{name}: there with and without .gz, remove one of the two")
    return problems


def _contents(pair: Pair, memory: FileMemory) -> list[tuple[str, str]]:
    files = (pair.images, pair.labels)
    return [(path.name.removesuffix(".gz"), memory.sha256(path)) for path in files]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
