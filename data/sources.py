"""Where the Fashion-MNIST files can come from. A source delivers; it does not verify.

Libraries that download and verify (pooch, `keras.utils.get_file`) do not resume, and take one URL
instead of a list of places of which some are packages or folders; so this is the project's own.
"""

import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import requests

logger = logging.getLogger(__name__)

PACKAGE = "dataset-fashion-mnist"
PACKAGE_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_PACKAGE_BYTES = 30_900_652

# The first is where keras.datasets.fashion_mnist downloads from, the second is the address in the
# README of the dataset's authors, https://github.com/zalandoresearch/fashion-mnist .
PUBLIC_URLS = (
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
)

_CONNECT_SECONDS = 3.0
_READ_SECONDS = 20.0
_APT_SECONDS = 900.0
_POLL_SECONDS = 0.2
_CHUNK_BYTES = 1 << 18


class SourceError(Exception):
    """A source cannot deliver; the message says why."""


class _Counter:
    """Says how far one file has come: once as a line, then to whoever looks on live."""

    def __init__(self, name: str, total: int | None, done: int = 0) -> None:
        self._name = name
        self._total = f" of {total / 1e6:.1f}" if total else ""
        self._shown = time.monotonic()
        resumed = f", resumed at {done} bytes" if done else ""
        size = f" ({total / 1e6:.1f} MB)" if total else ""
        logger.info("%s%s%s", name, size, resumed)

    def show(self, done: int) -> None:
        if time.monotonic() - self._shown >= _POLL_SECONDS:
            self._shown = time.monotonic()
            text = f"{self._name}: {done / 1e6:.1f}{self._total} MB"
            logger.info(text, extra={"live": True})


class Source(Protocol):
    """A place that may hold the files."""

    @property
    def description(self) -> str:
        """Names the source in messages."""

    def deliver(self, names: Sequence[str], staging: Path) -> None:
        """Puts the files called `names` into the directory `staging`, resuming what is there.

        Raises:
            SourceError: not all of them could be had; those that were delivered stay.
        """


@dataclass(frozen=True)
class FolderSource:
    """A directory that holds the files."""

    folder: Path
    description: str

    def deliver(self, names: Sequence[str], staging: Path) -> None:
        if not self.folder.is_dir():
            raise SourceError(f"there is no folder {self.folder}")
        missing = [name for name in names if not (self.folder / name).is_file()]
        for name in names:
            if name not in missing:
                try:
                    shutil.copyfile(self.folder / name, staging / name)
                except OSError as error:
                    raise SourceError(f"cannot read {self.folder / name}: {error}") from error
        if missing:
            raise SourceError(f"{self.folder} lacks {', '.join(missing)}")


@dataclass(frozen=True)
class UrlSource:
    """A web server that holds the files under one address; interrupted downloads are resumed."""

    base_url: str

    @property
    def description(self) -> str:
        return self.base_url

    def deliver(self, names: Sequence[str], staging: Path) -> None:
        import requests

        with requests.Session() as session:
            for name in names:
                try:
                    self._download(session, name, staging / name)
                except requests.ConnectTimeout as error:
                    raise SourceError(f"no answer in {_CONNECT_SECONDS:g} s") from error
                except requests.ConnectionError as error:
                    raise SourceError("the connection failed") from error
                except requests.RequestException as error:
                    raise SourceError(str(error)) from error

    def _download(self, session: "requests.Session", name: str, target: Path) -> None:
        part = target.with_name(f"{name}.part")
        have = part.stat().st_size if part.exists() else 0
        # A gzip file must not be unpacked on the way, so no content encoding is accepted.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with session.get(
            f"{self.base_url}/{name}",
            headers=headers,
            stream=True,
            timeout=(_CONNECT_SECONDS, _READ_SECONDS),
        ) as response:
            if have and response.status_code == 416:  # the part is as long as the file, or longer
                part.unlink()
                return self._download(session, name, target)
            response.raise_for_status()
            resumed = response.status_code == 206
            have = have if resumed else 0
            length = response.headers.get("Content-Length")
            counter = _Counter(name, have + int(length) if length else None, have)
            with part.open("ab" if resumed else "wb") as file:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    file.write(chunk)
                    counter.show(file.tell())
        part.replace(target)
        return None


@dataclass(frozen=True)
class AptSource:
    """The distribution's package, downloaded and unpacked without root.

    apt works on lists and a cache of its own inside the staging directory, so it neither needs
    the system's package lists nor touches them; only the system's sources are read.
    """

    package: str = PACKAGE

    @property
    def description(self) -> str:
        return f"the package {self.package} from apt-get download"

    def deliver(self, names: Sequence[str], staging: Path) -> None:
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise SourceError(f"there is no {tool} on this machine")
        # A folder of its own each time: an apt-get that outlived a killed call locks the old one.
        with tempfile.TemporaryDirectory(
            prefix="apt-", dir=staging, ignore_cleanup_errors=True
        ) as folder:
            unpacked = self.unpack(Path(folder))
            inside = FolderSource(unpacked / PACKAGE_FOLDER.relative_to("/"), self.description)
            inside.deliver(names, staging)

    def unpack(self, root: Path) -> Path:
        """Downloads the package; returns a folder in the empty folder `root` with what is in it.

        Raises:
            SourceError: it could not be had.
        """
        for name in ("lists/partial", "cache/archives/partial", "unpacked"):
            (root / name).mkdir(parents=True)
        logger.info("reading the package lists")
        # One unreachable repository makes `update` fail though the package is elsewhere.
        self._run(self._apt(root, "update"), root, must_succeed=False)
        archive = self._download(root)
        unpacked = root / "unpacked"
        self._run(["dpkg-deb", "--extract", str(archive), str(unpacked)], root)
        return unpacked

    def _apt(self, root: Path, *arguments: str) -> list[str]:
        options = {
            "Dir::State::Lists": str(root / "lists"),
            "Dir::Cache": str(root / "cache"),
            "APT::Sandbox::User": "",  # the unprivileged user it would change to cannot write here
            "Acquire::Languages": "none",
            "Acquire::Retries": "1",
            "Acquire::http::Timeout": "10",
            "Acquire::https::Timeout": "10",
        }
        flags = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return ["apt-get", "-qq", *flags, *arguments]

    def _download(self, root: Path) -> Path:
        size = _PACKAGE_BYTES if self.package == PACKAGE else None
        counter = _Counter(f"{self.package}.deb", size)

        def show() -> None:
            counter.show(sum(path.stat().st_size for path in root.glob("*.deb")))

        self._run(self._apt(root, "download", self.package), root, while_running=show)
        archives = sorted(root.glob(f"{self.package}_*.deb"))
        if not archives:
            raise SourceError(f"apt-get download left no {self.package} package behind")
        return archives[-1]

    def _run(
        self,
        command: Sequence[str],
        folder: Path,
        must_succeed: bool = True,
        while_running: Callable[[], None] = lambda: None,
    ) -> None:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            output = self._wait(process, while_running)
        finally:
            process.kill()
            process.wait()
        if must_succeed and process.returncode != 0:
            said = output.strip().splitlines()
            raise SourceError(f"{command[0]} failed: {said[-1] if said else process.returncode}")

    def _wait(self, process: "subprocess.Popen[str]", while_running: Callable[[], None]) -> str:
        deadline = time.monotonic() + _APT_SECONDS
        while time.monotonic() < deadline:
            try:
                output, _ = process.communicate(timeout=_POLL_SECONDS)
            except subprocess.TimeoutExpired:
                while_running()
            else:
                while_running()
                return output
        raise SourceError(f"it took over {_APT_SECONDS:g} s")
