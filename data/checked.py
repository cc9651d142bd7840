"""Pictures that were looked at, one by one, and laid out as the pipeline reads them."""

import os
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from data.duplicates import Likeness, clashes, copies, likeness
from data.folders import folder_name, shown
from data.picture import pixel_digest, read_picture
from data.picture_folder import write_sums
from data.refusal import FileProblem

# What the model's own graph makes of a picture; raises ValueError where it makes nothing.
Graph = Callable[[bytes], object]

_PNG = b"\x89PNG"
_SUFFIXES = {True: (".png",), False: (".jpg", ".jpeg", ".jpe", ".jfif")}


@dataclass(frozen=True)
class File:
    """A file of a class.

    Attributes:
        path: where it is.
        label: number of its class.
        part: train or test; empty where that is not decided yet.
    """

    path: Path
    label: int
    part: str = ""


@dataclass(frozen=True)
class Checked:
    """A picture that can be trained on.

    Attributes:
        file: where it came from.
        like: what it is compared by.
        changes: what has to be done to it, as `data.picture` says.
    """

    file: File
    like: Likeness
    changes: tuple[str, ...]


@dataclass
class Summary:
    """What was found beside the pictures themselves: nothing is dropped without a word.

    Attributes:
        ignored: files that systems and programs leave behind, and hidden ones.
        copies: pictures that are there before, in their own class.
        clashes: pictures that are in two classes or parts, and were allowed to be.
        changes: how many pictures are not laid out byte for byte, by what was done.
    """

    ignored: list[str] = field(default_factory=list)
    copies: int = 0
    clashes: int = 0
    changes: Counter[str] = field(default_factory=Counter)

    def sentences(self) -> Iterator[str]:
        """Says it to people."""
        if self.ignored:
            names = sorted({Path(path).name for path in self.ignored})
            more = ", ..." if len(names) > 5 else ""
            yield f"{len(self.ignored)} passed over: {', '.join(names[:5])}{more}."
        if self.copies:
            yield f"{self.copies} are copies of others in their class."
        if self.clashes:
            yield f"{self.clashes} are the same, or nearly, as others elsewhere, as allowed."
        for what, count in sorted(self.changes.items()):
            yield f"{count} not left as they were: {what}."


def check(
    files: Sequence[File],
    graph: Graph,
    max_pixels: int,
    on_done: Callable[[int], None] = lambda count: None,
) -> tuple[list[Checked], list[FileProblem]]:
    """Reads every file, as training will; returns the pictures, and what is wrong with the others.

    Args:
        files: in the order of the result.
        graph: the model's own.
        max_pixels: the largest product of width and height.
        on_done: is told how many files were read since the last call.
    """

    def look(file: File) -> Checked | FileProblem:
        try:
            picture = read_picture(file.path.read_bytes(), max_pixels)
            graph(picture.content)
        except OSError as error:
            return FileProblem(shown(file.path), f"cannot be read ({error.strerror or error})")
        except ValueError as error:
            return FileProblem(shown(file.path), str(error))
        like = likeness(picture.image, pixel_digest(picture.image))
        return Checked(file, like, picture.changes)

    checked: list[Checked] = []
    problems: list[FileProblem] = []
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for result in pool.map(look, files):
            if isinstance(result, Checked):
                checked.append(result)
            else:
                problems.append(result)
            on_done(1)
    return checked, problems


def summarise(
    pictures: Sequence[Checked], labels: Sequence[str], ignored: Sequence[Path]
) -> tuple[Summary, list[FileProblem]]:
    """Returns what is to be said about the pictures, and those that are in two places."""
    likes = [picture.like for picture in pictures]

    def side(place: int) -> Hashable:
        return pictures[place].file.part, pictures[place].file.label

    twice = [
        FileProblem(
            shown(pictures[other].file.path),
            f"{'' if equal else 'nearly '}the same picture as {shown(pictures[one].file.path)}, "
            f"which is {_elsewhere(pictures[one].file, pictures[other].file, labels)}",
        )
        for one, other, equal in clashes(likes, side)
    ]
    changes = Counter(change for picture in pictures for change in picture.changes)
    return Summary([shown(path) for path in ignored], copies(likes, side), 0, changes), twice


def lay_out(
    folder: Path, pictures: Sequence[Checked], labels: Sequence[str], max_pixels: int
) -> None:
    """Writes pictures as a folder per class with ``SHA256SUMS``; `folder` must not be there.

    Names are kept as far as every system can have them.
    """
    taken: set[str] = set()
    for picture in pictures:
        kind = folder / folder_name(picture.file.label, labels)
        kind.mkdir(parents=True, exist_ok=True)
        content = picture.file.path.read_bytes()
        if picture.changes:
            content = read_picture(content, max_pixels).content
        target = _free_name(kind, picture.file.path, content.startswith(_PNG), taken)
        target.write_bytes(content)
    write_sums(folder)
    # One call for all of them; a file at a time takes a millisecond each.
    os.sync()


def _free_name(folder: Path, path: Path, is_png: bool, taken: set[str]) -> Path:
    printable = "".join(sign if sign.isprintable() and sign != "\\" else "_" for sign in path.stem)
    stem = os.fsencode(printable).decode("utf-8", "replace").replace("\ufffd", "_")[:80]
    suffixes = _SUFFIXES[is_png]
    suffix = path.suffix.lower() if path.suffix.lower() in suffixes else suffixes[0]
    number = 1
    while True:
        name = folder / f"{stem}{f'-{number}' if number > 1 else ''}{suffix}"
        # Some systems do not tell capital letters from others.
        if str(name).casefold() not in taken:
            taken.add(str(name).casefold())
            return name
        number += 1


def _elsewhere(one: File, other: File, labels: Sequence[str]) -> str:
    if one.label != other.label:
        return f"of class {labels[one.label]}"
    return f"in {one.part}"
