"""The source: polls models' base paths and says which versions ought to be served.

The rules are those of
`tensorflow_serving/sources/storage_path/file_system_storage_path_source.cc`: any child whose name
is an integer is a version, whether complete or not.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from serving.model_server.errors import Code, ServingError, as_serving_error, in_one_line

_logger = logging.getLogger(__name__)

_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
_INT64 = range(-(2**63), 2**63)
# A file system that does not answer is not waited for any longer when the server stops.
_STOP_SECONDS = 5.0


class VersionChoice(Enum):
    """Kinds of version policy of a ModelConfig."""

    LATEST = "latest"
    ALL = "all"
    SPECIFIC = "specific"


@dataclass(frozen=True)
class MonitoredModel:
    """A model whose base path is polled, and which of the versions found there are wanted."""

    name: str
    base_path: Path
    choice: VersionChoice = VersionChoice.LATEST
    num_versions: int = 1
    versions: frozenset[int] = field(default_factory=frozenset)


AspiredVersions = Mapping[int, Path]
AspireCallback = Callable[[str, AspiredVersions], None]


def version_number(name: str) -> int | None:
    """The version that a folder name stands for; leading zeros and a sign are fine."""
    if not _INTEGER.fullmatch(name):
        return None
    number = int(name)
    return number if number in _INT64 else None


def aspired_versions(model: MonitoredModel) -> AspiredVersions:
    """Paths by version of what `model` wants of what its base path holds now.

    Raises ServingError (INVALID_ARGUMENT) if the base path does not exist.
    """
    try:
        children = sorted(child.name for child in model.base_path.iterdir())
    except FileNotFoundError as error:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Could not find base path {model.base_path} for servable {model.name} with error "
            f"NOT_FOUND: {model.base_path} not found",
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL byte
        reason = getattr(error, "strerror", None) or error
        raise ServingError(Code.UNKNOWN, f"{model.base_path}: {reason}") from error
    found = _by_version(model, children)
    if model.choice is VersionChoice.ALL:
        return found
    if model.choice is VersionChoice.SPECIFIC:
        return {version: path for version, path in found.items() if version in model.versions}
    return {version: found[version] for version in sorted(found)[-model.num_versions :]}


def _by_version(model: MonitoredModel, children: Iterable[str]) -> dict[int, Path]:
    found: dict[int, Path] = {}
    for child in children:
        version = version_number(child)
        if version is None:
            continue
        # Two names of one number: the canonical one for `specific`, else the last by name.
        if version in found and model.choice is VersionChoice.SPECIFIC and child != str(version):
            continue
        found[version] = model.base_path / child
    return found


class FileSystemSource:
    """Polls the base paths and calls `aspire(model name, versions)` with what it finds."""

    def __init__(self, aspire: AspireCallback, poll_wait_seconds: int) -> None:
        """Polls every `poll_wait_seconds`; if it is 0, once per `update`; never if negative."""
        self._aspire = aspire
        self._poll_wait_seconds = poll_wait_seconds
        self._lock = threading.Lock()
        self._models: list[MonitoredModel] = []
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._complaints: dict[str, str] = {}

    @property
    def polls(self) -> bool:
        """Whether versions are ever looked for."""
        return self._poll_wait_seconds >= 0

    def update(self, models: Iterable[MonitoredModel]) -> None:
        """Replaces the polled models; of those no longer polled, no version is aspired."""
        models = list(models)
        with self._lock:
            gone = {model.name for model in self._models} - {model.name for model in models}
            for name in gone:
                self._complaints.pop(name, None)
                self._aspire(name, {})
            self._models = models
        self._wake.set()

    def start(self) -> None:
        """Polls for the first time, from a thread of its own."""
        if not self.polls:
            return
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()
        if self._thread:
            self._thread.join(_STOP_SECONDS)

    def poll(self) -> None:
        """Looks once. A model that cannot be read keeps what it has, and holds up no other."""
        with self._lock:
            for model in self._models:
                try:
                    versions = aspired_versions(model)
                    self._aspire(model.name, versions)
                except BaseException as error:
                    self._complain(model, in_one_line(as_serving_error(error)))
                else:
                    self._note_if_empty(model, versions)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self.poll()
            except BaseException:
                _logger.exception("polling the model base paths failed")
            self._wake.wait(self._poll_wait_seconds or None)

    def _complain(self, model: MonitoredModel, message: str) -> None:
        if message != self._complaints.get(model.name):
            _logger.error("model %s: polling its base path failed: %s", model.name, message)
        self._complaints[model.name] = message

    def _note_if_empty(self, model: MonitoredModel, versions: AspiredVersions) -> None:
        if versions:
            self._complaints.pop(model.name, None)
            return
        complaint = f"no versions found under {model.base_path}"
        if complaint != self._complaints.get(model.name):
            _logger.warning(
                "model %s: %s; a version is a folder named by a number", model.name, complaint
            )
        self._complaints[model.name] = complaint
