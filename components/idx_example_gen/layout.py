"""Which IDX files of a data root one run reads, and what each of them is for.

This module imports only the standard library, so that asking whether there is new data costs
nothing.
"""

import enum
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SPAN_PLACEHOLDER = "{SPAN}"
OFFICIAL_PATTERN = "official/*-ubyte*"
SPAN_PATTERN = f"spans/{SPAN_PLACEHOLDER}/*-ubyte*"
QUARANTINE_FILE = "quarantine.json"

OFFICIAL_ORIGIN = "official"
_SPAN_ORIGIN = "span-"

_FILE_NAME = re.compile(r"(?P<part>train-|t10k-|)(?P<kind>images-idx3|labels-idx1)-ubyte(\.gz)?")


class Role(enum.Enum):
    """What the examples of a pair of files are for; `splits.split_of` turns it into splits."""

    TRAINING = "training"
    NEWEST_SPAN = "newest span"
    TEST = "test"


@dataclass(frozen=True)
class Pair:
    """An image file and its label file.

    Attributes:
        origin: value of the feature `origin`: ``official`` or ``span-N``.
        role: what its examples are for.
        images: the IDX image file.
        labels: the IDX label file.
    """

    origin: str
    role: Role
    images: Path
    labels: Path


@dataclass(frozen=True)
class Layout:
    """What one run reads.

    Attributes:
        spans: the span numbers, ascending; empty when the official training images are read.
        pairs: the files, in the order in which their examples come.
        defects: one sentence per file that is missing or there twice.
    """

    spans: tuple[int, ...]
    pairs: tuple[Pair, ...]
    defects: tuple[str, ...]

    @property
    def newest_span(self) -> int:
        """The newest span that is read, 0 when none is."""
        return max(self.spans, default=0)

    def fingerprint(self) -> str:
        """SHA-256 over what each file is for and over its content, in hexadecimal."""
        contents = [
            (pair.origin, pair.role.value, path.name.removesuffix(".gz"), _sha256(path))
            for pair in self.pairs
            for path in (pair.images, pair.labels)
        ]
        return hashlib.sha256(json.dumps([contents, self.defects]).encode()).hexdigest()


def origin_of(span: int) -> str:
    """The value of the feature `origin` for the examples of a span."""
    return f"{_SPAN_ORIGIN}{span}"


def span_of(origin: str) -> int:
    """The span that `origin_of` named so; raises ValueError for any other origin."""
    return int(origin.removeprefix(_SPAN_ORIGIN))


def list_spans(input_base: Path, span_pattern: str = SPAN_PATTERN) -> list[int]:
    """Numbers of all spans that the pattern finds under `input_base`, ascending.

    A span's directory is named by a plain positive integer; anything else is not a span.
    """
    escaped = re.escape(span_pattern).replace(re.escape("*"), "[^/]*")
    matched = re.compile(escaped.replace(re.escape(SPAN_PLACEHOLDER), r"([1-9]\d*)"))
    found = set()
    for path in _glob(input_base, span_pattern.replace(SPAN_PLACEHOLDER, "*")):
        match = matched.fullmatch(path.relative_to(input_base).as_posix())
        if match:
            found.add(int(match.group(1)))
    return sorted(found)


def read_quarantine(input_base: Path) -> dict[int, dict[str, str]]:
    """What is recorded about each quarantined span, by its number, ascending."""
    try:
        entries = json.loads((input_base / QUARANTINE_FILE).read_text())
    except FileNotFoundError:
        return {}
    return {int(span): entries[span] for span in sorted(entries, key=int)}


def window(
    spans: Iterable[int],
    size: int | None,
    quarantined: Collection[int] = (),
    last_span: int | None = None,
) -> list[int]:
    """The `size` newest of `spans` (all when None) that are not quarantined, ascending.

    With a `last_span`, newer ones are left out, as a run for a day in the past must.
    """
    usable = sorted(
        span
        for span in set(spans)
        if span not in quarantined and (last_span is None or span <= last_span)
    )
    return usable if size is None else usable[max(0, len(usable) - size) :]


def resolve(
    input_base: Path,
    spans: Sequence[int],
    official_pattern: str = OFFICIAL_PATTERN,
    span_pattern: str = SPAN_PATTERN,
) -> Layout:
    """Finds the files of `spans` and the official test set.

    With no spans, the official training images are what is trained on.
    """
    pairs: list[Pair] = []
    defects: list[str] = []

    def add(origin: str, role: Role, part: str, pattern: str) -> None:
        files = _files(input_base, pattern, part)
        problems = _problems(files, input_base / pattern, part)
        defects.extend(problems)
        if not problems:
            pairs.append(Pair(origin, role, files["images-idx3"][0], files["labels-idx1"][0]))

    ordered = sorted(spans)
    for span in ordered:
        role = Role.NEWEST_SPAN if span == ordered[-1] else Role.TRAINING
        add(origin_of(span), role, "", span_pattern.replace(SPAN_PLACEHOLDER, str(span)))
    if not ordered:
        add(OFFICIAL_ORIGIN, Role.TRAINING, "train-", official_pattern)
    add(OFFICIAL_ORIGIN, Role.TEST, "t10k-", official_pattern)
    return Layout(tuple(ordered), tuple(pairs), tuple(defects))


def _files(input_base: Path, pattern: str, part: str) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = defaultdict(list)
    for path in _glob(input_base, pattern):
        match = _FILE_NAME.fullmatch(path.name)
        if match and match.group("part") == part:
            files[match.group("kind")].append(path)
    return files


def _problems(files: dict[str, list[Path]], where: Path, part: str) -> list[str]:
    problems = []
    for kind in ("images-idx3", "labels-idx1"):
        found = files[kind]
        name = where.parent / f"{part}{kind}-ubyte"
        if not found:
            problems.append(f"{name}: neither this file nor its .gz is there")
        elif len(found) > 1:
            problems.append(f"{name}: there with and without .gz, remove one of the two")
    return problems


def _glob(input_base: Path, pattern: str) -> list[Path]:
    return sorted(input_base.glob(pattern))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
