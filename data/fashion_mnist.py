"""The four official Fashion-MNIST files, verified, from the first source that has them."""

import gzip
import hashlib
import logging
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.sources import (
    PACKAGE,
    PACKAGE_FOLDER,
    PUBLIC_URLS,
    AptSource,
    FolderSource,
    Source,
    SourceError,
    UrlSource,
)
from files.kept import set_aside
from files.memory import FileMemory
from files.whole import flush

logger = logging.getLogger(__name__)

_STAGING = ".fetching"


@dataclass(frozen=True)
class OfficialFile:
    """One file of the dataset and how it is recognised.

    Attributes:
        name: its file name.
        sha256: of the gzipped file as its authors publish it.
        content_sha256: of what is inside; a distribution that packs the file again without a
            name and a time in the gzip header changes the former and not the latter.
    """

    name: str
    sha256: str
    content_sha256: str

    def is_genuine(self, path: Path, memory: FileMemory | None = None) -> bool:
        """Whether `path` is this file, whoever gzipped it; see `obtain` for `memory`."""
        if not path.is_file():
            return False
        memory = memory or FileMemory()
        if memory.sha256(path) == self.sha256:
            return True
        return memory.fact("sha256 unzipped", path, _sha256_unzipped) == self.content_sha256


OFFICIAL_FILES = (
    OfficialFile(
        "train-images-idx3-ubyte.gz",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    OfficialFile(
        "train-labels-idx1-ubyte.gz",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    OfficialFile(
        "t10k-images-idx3-ubyte.gz",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    OfficialFile(
        "t10k-labels-idx1-ubyte.gz",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)


class DatasetError(Exception):
    """No source had every file; the message says what each one answered and what to do."""


@dataclass(frozen=True)
class Obtained:
    """What `obtain` did.

    Attributes:
        folder: holds the four verified files.
        sources: descriptions of the sources that served, none when all files were there already.
    """

    folder: Path
    sources: tuple[str, ...]


def default_sources(folder: Path | None = None) -> tuple[Source, ...]:
    """All known sources, in the order they are tried, the user's own `folder` first."""
    own = () if folder is None else (FolderSource(folder, f"the folder {folder}"),)
    installed = FolderSource(PACKAGE_FOLDER, f"the installed package {PACKAGE}")
    return (*own, installed, *(UrlSource(url) for url in PUBLIC_URLS), AptSource())


def obtain(
    destination: Path,
    source: Path | None = None,
    *,
    files: Sequence[OfficialFile] = OFFICIAL_FILES,
    sources: Sequence[Source] | None = None,
    memory: FileMemory | None = None,
) -> Obtained:
    """Makes `destination` hold every one of `files`, verified by SHA-256.

    Files that are there and genuine stay untouched. A file appears under its name only after it
    was verified; what an interrupted call left behind is resumed or replaced by the next one.

    Args:
        destination: the folder ``base`` of a data root; made if need be.
        source: a folder of the user's to try before every other source.
        files: which files.
        sources: what to try, in this order; by default `default_sources(source)`.
        memory: knows the files that did not change; None: each is read.

    Raises:
        DatasetError: after every source was tried.
    """
    destination.mkdir(parents=True, exist_ok=True)
    missing = [file for file in files if not file.is_genuine(destination / file.name, memory)]
    if not missing:
        return Obtained(destination, ())
    tried = default_sources(source) if sources is None else sources
    return Obtained(destination, _fetch(missing, destination, tried))


def _sha256_unzipped(path: Path) -> str:
    try:
        return hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return ""


def _fetch(
    missing: list[OfficialFile],
    destination: Path,
    sources: Sequence[Source],
) -> tuple[str, ...]:
    for file in missing:
        if (destination / file.name).exists():
            logger.warning("%s is corrupt: fetching it again", destination / file.name)
    staging = destination / _STAGING
    staging.mkdir(exist_ok=True)
    served: list[str] = []
    refusals: list[str] = []
    for source in sources:
        reasons = _deliver(source, missing, staging)
        accepted = [file for file in missing if _accept(file, staging, destination)]
        if accepted:
            served.append(source.description)
            logger.info("%d verified files from %s", len(accepted), source.description)
        missing = [file for file in missing if file not in accepted]
        if not missing:
            shutil.rmtree(staging, ignore_errors=True)
            return tuple(served)
        reasons += _discard_corrupt(missing, staging)
        refusals += [f"{source.description}: {reason}" for reason in reasons]
    raise DatasetError(
        f"Fashion-MNIST could not be obtained; still missing: "
        f"{', '.join(file.name for file in missing)}. Tried: {'; '.join(refusals)}. "
        f"Download the files elsewhere and give their folder: runner.py data fetch --from FOLDER"
    )


def _deliver(source: Source, files: Sequence[OfficialFile], staging: Path) -> list[str]:
    logger.info("Fashion-MNIST: trying %s", source.description)
    try:
        source.deliver([file.name for file in files], staging)
    except SourceError as reason:
        logger.info("%s", reason)
        return [str(reason)]
    return []


def _discard_corrupt(files: Sequence[OfficialFile], staging: Path) -> list[str]:
    reasons = []
    for file in files:
        if (staging / file.name).exists():
            (staging / file.name).unlink()
            reasons.append(f"{file.name} is corrupt (wrong SHA-256)")
            logger.warning("%s: refused", reasons[-1])
    return reasons


def _accept(file: OfficialFile, staging: Path, destination: Path) -> bool:
    path = staging / file.name
    if not file.is_genuine(path):
        return False
    flush(path)
    target = destination / file.name
    if target.exists():
        # It may be somebody's own, under the name that the format gives it.
        logger.warning("what was %s is kept as %s", target, set_aside(target).name)
    path.replace(target)
    return True
