"""Folders of pictures as people have them: which files count, and as which class.

Every folder in the one that is given is a class; what lies in folders below it belongs to the
class. What operating systems and programs leave behind is no picture and is counted; links are
followed; everything else is either a picture or a problem with a name.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.class_names import in_natural_order, label_of, same_name
from data.refusal import FileProblem

_LEFT_BEHIND = frozenset(
    (
        "$recycle.bin",
        "@eadir",
        "__macosx",
        "desktop.ini",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "icon\r",
        "lost+found",
        "picasa.ini",
        "sha256sums",
        "system volume information",
        "thumbs.db",
        "zbthumbnail.info",
    )
)
SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpe", ".jpeg", ".jpg"),
        *(".png", ".ppm", ".tif", ".tiff", ".webp"),
    )
)
_NOTES = frozenset((".json", ".md", ".md5", ".sha256", ".txt"))


@dataclass
class Found:
    """What is in a folder of folders.

    Attributes:
        classes: files by the name of their class, in natural order, each in the order of names.
        ignored: what is passed over.
        problems: what is neither.
    """

    classes: dict[str, list[Path]] = field(default_factory=dict)
    ignored: list[Path] = field(default_factory=list)
    problems: list[FileProblem] = field(default_factory=list)


def shown(path: Path | str) -> str:
    """A path, or a sentence with one, in characters that can be printed and kept as UTF-8."""
    try:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return str(path).encode("utf-8", "backslashreplace").decode()


def is_left_behind(name: str) -> bool:
    """Whether a file or folder is hidden, or of a name that systems and programs leave behind."""
    return name.startswith((".", "~$")) or name.casefold() in _LEFT_BEHIND


def is_note(path: Path) -> bool:
    """Whether a file is one of those that people write beside data: README, LICENSE, checksums."""
    is_named_so = path.suffix.lower() in _NOTES or (not path.suffix and path.name.isupper())
    return is_named_so and path.is_file()


def visible(folder: Path) -> list[Path]:
    """What a person sees in a folder, in natural order; raises OSError."""
    by_name = {path.name: path for path in folder.iterdir() if not is_left_behind(path.name)}
    return [by_name[name] for name in in_natural_order(by_name)]


def safe_name(name: str) -> str:
    """A name as a folder of any system can have it; empty: it would be passed over, or is long."""
    safe = re.sub(r"[/\\\x00-\x1f\x7f\x85\u2028\u2029]", "_", same_name(name))
    return "" if is_left_behind(safe) or len(safe.encode()) > 200 else safe


def folder_name(label: int, labels: Sequence[str]) -> str:
    """The name of the folder for a class, which `label_of` understands."""
    name = safe_name(labels[label])
    return name if name and label_of(name, labels) == label else str(label)


def find(folder: Path) -> Found:
    """Finds the pictures of every class in a folder; names that differ only in NFC are one."""
    found = Found()
    classes: dict[str, list[Path]] = defaultdict(list)
    for path in _listed(folder, found):
        if not path.is_dir():
            found.problems.append(FileProblem(shown(path), _outside(path)))
        elif not is_utf8(path.name):
            reason = "the name of a class has to be UTF-8: rename this folder"
            found.problems.append(FileProblem(shown(path), reason))
        else:
            classes[same_name(path.name)] += _below(path, found, (os.path.realpath(path),))
    found.classes = {name: classes[name] for name in in_natural_order(classes)}
    return found


def _below(folder: Path, found: Found, above: tuple[str, ...]) -> Iterator[Path]:
    for path in _listed(folder, found):
        real = os.path.realpath(path)
        if path.is_dir():
            if real in above:
                reason = "a link to a folder that it lies in"
                found.problems.append(FileProblem(shown(path), reason))
            else:
                yield from _below(path, found, (*above, real))
        elif (defect := _no_picture(path)) is not None:
            found.problems.append(FileProblem(shown(path), defect))
        else:
            yield path


def _listed(folder: Path, found: Found) -> list[Path]:
    try:
        everything = sorted(folder.iterdir())
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
        found.problems.append(FileProblem(shown(folder), reason))
        return []
    found.ignored += [path for path in everything if is_left_behind(path.name)]
    by_name = {path.name: path for path in everything if not is_left_behind(path.name)}
    return [by_name[name] for name in in_natural_order(by_name)]


def _outside(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return "a link to nothing"
    return "not in a folder of a class"


def _no_picture(path: Path) -> str | None:
    if path.is_symlink() and not path.exists():
        return "a link to nothing"
    if not path.is_file():
        return "neither a file nor a folder"
    if path.suffix.lower() not in SUFFIXES:
        return "not a picture by its name"
    return None


def is_utf8(name: str) -> bool:
    """Whether a name can be printed and written into a file."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
