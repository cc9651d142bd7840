"""A folder with a folder of pictures for each class: as a span, or as a part of the base set.

``SHA256SUMS`` in it, as `sha256sum` writes it, names every picture. It makes the folder complete: a
span without it, or with other files than it says, is still being copied. The base set is taken
without one as well. Only the standard library is imported.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from data.folders import is_left_behind, is_utf8, shown
from files.lines import lines_of
from files.memory import FileMemory
from files.whole import write_whole

SUMS = "SHA256SUMS"

# Spans are listed again and again; a picture that is as it was is not read for that.
_SEEN = FileMemory()


def has_pictures(folder: Path) -> bool:
    """Whether a folder is one of pictures, complete or not."""
    return (folder / SUMS).is_file() or any(
        path.is_dir() and not is_left_behind(path.name) for path in _entries(folder)
    )


def pictures(folder: Path) -> list[str]:
    """The files in the folders of classes, as ``class/name``, in the order of names.

    One whose name is not UTF-8 is none of them; `defects` has it.
    """
    return sorted(filter(is_utf8, _all_pictures(folder)))


def digests(folder: Path, memory: FileMemory | None = None) -> dict[str, str]:
    """The SHA-256 of every picture, by ``class/name``, in the order of names.

    Args:
        folder: of the classes' folders.
        memory: knows the files that did not change; None: what this process has seen.
    """
    names = pictures(folder)
    known = memory or _SEEN
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda name: known.sha256(folder / name), names)
        return dict(zip(names, found, strict=True))


def is_complete(folder: Path) -> bool:
    """Whether every picture that ``SHA256SUMS`` names is there, whole."""
    try:
        listed = read_sums(folder)
        return bool(listed) and listed.items() <= digests(folder).items()
    except (OSError, ValueError):
        return False


def defects(folder: Path) -> list[str]:
    """One sentence for every picture that is not as ``SHA256SUMS`` says; none without it."""
    unreadable = [
        f"{shown(folder / name)}: its name is not UTF-8, rename it"
        for name in _all_pictures(folder)
        if not is_utf8(name)
    ]
    if not (folder / SUMS).is_file():
        return unreadable
    try:
        listed, found = read_sums(folder), digests(folder)
    except (OSError, ValueError) as error:
        return [f"{shown(folder / SUMS)}: cannot be used ({error})"]
    unlike = {name for name in listed.keys() & found.keys() if listed[name] != found[name]}
    return unreadable + [
        f"{shown(folder / name)}: {defect}"
        for names, defect in (
            (found.keys() - listed.keys(), f"not named in {SUMS}"),
            (listed.keys() - found.keys(), f"not there, but named in {SUMS}"),
            (unlike, f"not the file that {SUMS} names"),
        )
        for name in sorted(names)
    ]


def read_sums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every picture that ``SHA256SUMS`` names; raises OSError or ValueError."""
    sums = {}
    # Not as text: that has a line end at a lone carriage return, which a name may hold.
    text = (folder / SUMS).read_bytes().decode("utf-8", "surrogateescape")
    for line in lines_of(text.replace("\r\n", "\n")):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name:
            raise ValueError(f"{line!r} is not a line of sha256sum")
        sums[name.removeprefix("./")] = digest
    return sums


def write_sums(folder: Path) -> None:
    """Writes ``SHA256SUMS`` for what is in a folder."""
    lines = [f"{digest}  {name}\n" for name, digest in digests(folder).items()]
    write_whole(folder / SUMS, "".join(lines).encode("utf-8", "surrogateescape"))


def _all_pictures(folder: Path) -> list[str]:
    return [
        f"{kind.name}/{path.name}"
        for kind in _entries(folder)
        if kind.is_dir() and not is_left_behind(kind.name)
        for path in _entries(kind)
        if path.is_file() and not is_left_behind(path.name)
    ]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
