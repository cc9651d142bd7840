"""The spans of a data root: which there are, which a run reads, and how one is added.

Spans lie at ``<data root>/spans/<N>/``. A span appears by one rename and is never changed.
Everything but `add` imports the standard library only, so that asking whether there is new data
costs nothing.
"""

import json
import logging
import re
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data import picture_folder
from data.layout import is_complete, spans_folder
from data.quarantine import quarantined
from files.lock import locked
from files.whole import flush, write_whole

if TYPE_CHECKING:
    from data.idx import Bytes

logger = logging.getLogger(__name__)

IMAGES_FILE = "images-idx3-ubyte.gz"
LABELS_FILE = "labels-idx1-ubyte.gz"
# What the numbers in the labels stood for when the span was added, a list as JSON.
CLASSES_FILE = "classes.json"

_INCOMING = ".incoming"
# What the metadata has room for.
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Added:
    """What `add` did.

    Attributes:
        span: the number under which the images now lie.
        is_new: False when that span already held exactly these images and labels.
    """

    span: int
    is_new: bool


def list_spans(folder: Path) -> list[int]:
    """Numbers of the spans in a folder of spans, quarantined ones included, ascending.

    A span's folder is named by a plain positive integer and has both files, or all pictures that
    its list of checksums names; anything else is not a span, or not yet.
    """
    return [span for span in _numbered(folder) if is_complete(folder / str(span))]


def list_incomplete(folder: Path) -> list[int]:
    """Numbers of the folders that lack a file and are not spans yet, ascending."""
    return [span for span in _numbered(folder) if not is_complete(folder / str(span))]


def not_read(folder: Path) -> Iterator[str]:
    """Yields a sentence for every numbered folder that is no span, or not yet."""
    for span in list_incomplete(folder):
        yield f"span {span} is not complete yet, and not read"
    for span in _all_numbered(folder):
        if span > _LARGEST:
            yield f"{folder / str(span)} is no span, and not read: the largest is {_LARGEST}"


@dataclass(frozen=True)
class Choice:
    """The spans of one run: chosen once, before anything else, and the same for every node.

    Attributes:
        spans: that are trained on, ascending.
        new: those of them that no served version was trained on. They are judged.
    """

    spans: tuple[int, ...] = ()
    new: tuple[int, ...] = ()


def choose(
    root: Path,
    size: int = 0,
    last_span: int | None = None,
    *,
    trusted: Collection[int] = (),
    judged: Collection[int] = (),
) -> Choice:
    """Chooses the spans that a run reads.

    Args:
        root: the data root.
        size: how many of the newest spans that are not quarantined; 0: all.
        last_span: newer spans are left out, as a run for a day in the past must.
        trusted: what the served version was trained on.
        judged: those of them that were new to the run that pushed it.
    """
    spans = usable_spans(root, size or None, last_span)
    # Without new data the run is the one that pushed the served version, and reads alike.
    new = judged if spans == sorted(trusted) else set(spans) - set(trusted)
    return Choice(tuple(spans), tuple(sorted(new)))


def usable_spans(root: Path, size: int | None = None, last_span: int | None = None) -> list[int]:
    """The `size` newest spans (all when None) that are not quarantined, ascending."""
    return window(list_spans(spans_folder(root)), size, quarantined(root), last_span)


def window(
    spans: Iterable[int],
    size: int | None,
    quarantined: Collection[int] = (),
    last_span: int | None = None,
) -> list[int]:
    """The `size` newest of `spans` (all when None) that are not quarantined, ascending."""
    usable = sorted(
        span
        for span in set(spans)
        if span not in quarantined and (last_span is None or span <= last_span)
    )
    return usable if size is None else usable[max(0, len(usable) - size) :]


def add(root: Path, images: "Bytes", labels: "Bytes", classes: Sequence[str] = ()) -> Added:
    """Writes images (uint8 [n, height, width]) and labels (uint8 [n]) as the next span.

    The span appears whole or not at all. Images and labels that are a span already are not added
    a second time, so that a repeated call does no harm. The names of the classes are kept with
    them, so that later ones in another order are noticed.
    """
    from data import idx

    def write(incoming: Path) -> None:
        incoming.mkdir(parents=True)
        idx.write(incoming / IMAGES_FILE, images)
        idx.write(incoming / LABELS_FILE, labels)
        if classes:
            write_whole(incoming / CLASSES_FILE, json.dumps(list(classes)))

    return _add(root, write, _same_files, len(images))


def add_pictures(root: Path, write: Callable[[Path], None], count: int) -> Added:
    """Adds pictures as the next span; as `add`, but `write` writes them into a new folder.

    Args:
        root: the data root.
        write: is given a folder that is not there, and writes a folder per class and checksums.
        count: of the pictures.
    """
    return _add(root, write, _same_pictures, count)


def _add(
    root: Path,
    write: Callable[[Path], None],
    is_same: Callable[[Path, Path], bool],
    count: int,
) -> Added:
    folder = spans_folder(root)
    with locked(root / ".lock"):
        incoming = folder / _INCOMING
        shutil.rmtree(incoming, ignore_errors=True)
        incoming.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(incoming)
        except BaseException:
            shutil.rmtree(incoming, ignore_errors=True)
            raise
        spans = list_spans(folder)
        for span in spans:
            if is_same(incoming, folder / str(span)):
                shutil.rmtree(incoming)
                return Added(span, is_new=False)
        # A number that is still being copied is taken, too, as is a quarantined one that is gone.
        span = max([*_numbered(folder), *quarantined(root)], default=0) + 1
        incoming.rename(folder / str(span))
        flush(folder)
    logger.info("span %d of %s holds %d new images", span, root, count)
    return Added(span, is_new=True)


def _numbered(folder: Path) -> list[int]:
    return [span for span in _all_numbered(folder) if span <= _LARGEST]


def _all_numbered(folder: Path) -> list[int]:
    try:
        # Not by `glob`, for which a folder that may not be read is an empty one.
        paths = list(folder.iterdir())
    except FileNotFoundError:
        return []
    plain = (path for path in paths if re.fullmatch("[1-9][0-9]*", path.name))
    return sorted(int(path.name) for path in plain if path.is_dir())


def _same_files(one: Path, other: Path) -> bool:
    return all(
        (other / name).is_file() and (one / name).read_bytes() == (other / name).read_bytes()
        for name in (LABELS_FILE, IMAGES_FILE)
    )


def _same_pictures(one: Path, other: Path) -> bool:
    """Whether two spans have the same files in the same classes, whatever they are called."""
    if not (other / picture_folder.SUMS).is_file():
        return False
    return _by_class(one) == _by_class(other)


def _by_class(span: Path) -> list[tuple[str, str]]:
    sums = picture_folder.read_sums(span)
    return sorted((name.partition("/")[0], digest) for name, digest in sums.items())
