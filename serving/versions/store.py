"""What a model's base directory holds: its versions, their states and records."""

import logging
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from serving.versions.directory_names import (
    HIGHEST,
    RECORDS,
    ROLLED_BACK_SUFFIX,
    version_number,
)
from serving.versions.file_systems import network_file_system
from serving.versions.permissions import Permissions
from serving.versions.record import VersionRecord
from serving.versions.storage import PublishError, Storage

logger = logging.getLogger(__name__)


class VersionState(StrEnum):
    """Where a version stands; the name of its directory decides, the record explains."""

    PRESENT = "present"  # its directory has a model and a name that a server parses as a version
    INCOMPLETE = "incomplete"  # the directory is there, the model is not: a remote push died
    ROLLED_BACK = "rolled_back"
    PRUNED = "pruned"
    ABSENT = "absent"  # recorded, but its directory was deleted or never appeared


@dataclass(frozen=True)
class Version:
    """One version. `record` is None for a directory that something else put there."""

    number: int
    state: VersionState
    record: VersionRecord | None
    directory: str | None

    @property
    def was_rolled_back(self) -> bool:
        """Whether its content must not come back: taken back, and not put back by hand since."""
        noted = self.record is not None and self.record.rolled_back is not None
        return self.state is VersionState.ROLLED_BACK or (
            noted and self.state is not VersionState.PRESENT
        )


class VersionStore:
    """A model's base directory, `<base>/<version>/`, with its records in `<base>/.versions/`."""

    def __init__(self, base: str | Path, permissions: Permissions | None = None) -> None:
        """Opens a directory, which need not exist.

        Args:
            base: a path, or a URI that `tf.io.gfile` knows.
            permissions: of what is written there; None: all may read it.
        """
        self.storage: Storage = _open_storage(base, permissions or Permissions())

    def versions(self) -> list[Version]:
        """Returns every version that is there or was, newest first."""
        served, rolled_back = {}, {}
        for name in self.storage.names():
            if (number := version_number(name)) is not None:
                served[number] = name
            elif (number := version_number(name.removesuffix(ROLLED_BACK_SUFFIX))) is not None:
                rolled_back[number] = name
        records = self._records()
        found = []
        for number in sorted({*served, *rolled_back, *records}, reverse=True):
            record = records.get(number)
            if number in served:
                complete = self.storage.exists(f"{served[number]}/saved_model.pb")
                state = VersionState.PRESENT if complete else VersionState.INCOMPLETE
            elif number in rolled_back:
                state = VersionState.ROLLED_BACK
            elif record is not None and record.pruned_at is not None:
                state = VersionState.PRUNED
            else:
                state = VersionState.ABSENT
            folder = served.get(number) or rolled_back.get(number)
            directory = self.storage.uri(folder) if folder else None
            found.append(Version(number, state, record, directory))
        return found

    def served(self) -> list[Version]:
        """Returns the versions that a server may load, newest first."""
        return [version for version in self.versions() if version.state is VersionState.PRESENT]

    def newest_served(self) -> Version | None:
        """Returns the newest served version that has a record, the baseline of the next model."""
        return next((version for version in self.served() if version.record is not None), None)

    def get(self, number: int) -> Version | None:
        """Returns a version by its number."""
        return next((version for version in self.versions() if version.number == number), None)

    def is_intact(self, version: Version) -> bool:
        """Whether a version's directory holds, byte for byte, what its record says."""
        if version.record is None or version.directory is None:
            return False
        return self.storage.checksums(_name_in(version.directory)) == version.record.checksums

    def statistics(self, number: int) -> str | None:
        """Returns where the statistics of a version's training data are kept, if they are."""
        name = f"{number}.statistics"
        if name not in self.storage.names(RECORDS):
            return None
        return self.storage.uri(f"{RECORDS}/{name}")

    def next_number(self) -> int:
        """Returns the UNIX time, or one more than the highest number ever used if that is later.

        Raises:
            PublishError: no server would take that number for a version.
        """
        highest = max([self._highest(), *(version.number for version in self.versions())])
        number = max(int(time.time()), highest + 1)
        if version_number(str(number)) is None:
            raise PublishError(
                f"{self.storage.base} has a version {highest}, and no server reads a higher "
                f"number: remove it, its record and {self.storage.uri(HIGHEST)}, whichever there "
                "are. Nothing was pushed."
            )
        return number

    def _highest(self) -> int:
        try:
            text = (self.storage.read(HIGHEST) or "0").strip()
            if (number := version_number(text)) is None:
                raise ValueError(text)
            return number
        except self.storage.unreadable as error:
            logger.warning("%s is not a number: %s", self.storage.uri(HIGHEST), error)
            return 0

    def write_highest(self, number: int) -> None:
        """Remembers that a number is used, whatever becomes of its version."""
        self.storage.write(HIGHEST, f"{number}\n")

    def write_record(self, record: VersionRecord) -> None:
        """Writes or replaces a version's record."""
        self.storage.write(f"{RECORDS}/{record.version}.json", record.model_dump_json(indent=2))

    def write_statistics(self, number: int, source: Path) -> None:
        """Copies the statistics of a version's training data beside its record."""
        self.storage.copy_in(source, f"{RECORDS}/{number}.statistics")

    def remove_statistics(self, number: int) -> None:
        """Removes a version's statistics."""
        self.storage.remove(f"{RECORDS}/{number}.statistics")

    def write_signature(self, number: int, signature: str) -> None:
        """Writes a version's signature beside its record, where it stays as long as that does."""
        self.storage.write(f"{RECORDS}/{number}.sig", signature)

    def is_signed(self, number: int) -> bool:
        """Whether there is a signature, of whatever worth."""
        return self.storage.exists(f"{RECORDS}/{number}.sig")

    def retire(self, version: Version) -> None:
        """Renames a served version so that servers let go of it."""
        if version.directory is None:
            raise ValueError(f"version {version.number} has no directory")
        retired = f"{version.number}{ROLLED_BACK_SUFFIX}"
        # A version that was put back by copying it has left itself behind.
        self.storage.remove(retired)
        self.storage.rename(_name_in(version.directory), retired)

    def bring_back(self, version: Version) -> None:
        """Renames a rolled-back version so that servers load it again."""
        if version.directory is None:
            raise ValueError(f"version {version.number} has no directory")
        self.storage.rename(_name_in(version.directory), str(version.number))

    def remove(self, version: Version) -> None:
        """Removes a version's directory; its record stays."""
        if version.directory is not None:
            self.storage.remove(_name_in(version.directory))

    def _records(self) -> dict[int, VersionRecord]:
        records = {}
        for name in self.storage.names(RECORDS):
            number = version_number(name.removesuffix(".json")) if name.endswith(".json") else None
            record = self._record(f"{RECORDS}/{name}") if number is not None else None
            if number is not None and record is not None:
                records[number] = record
        return records

    def _record(self, path: str) -> VersionRecord | None:
        try:
            text = self.storage.read(path)
            return VersionRecord.model_validate_json(text) if text is not None else None
        except self.storage.unreadable as error:
            why = str(error).partition("\n")[0]
            logger.warning(
                "%s is not a version record, it is skipped: %s", self.storage.uri(path), why
            )
            return None


def _name_in(directory: str) -> str:
    return directory.rstrip("/").rpartition("/")[2]


def _open_storage(base: str | Path, permissions: Permissions) -> Storage:
    """Returns the storage for a local path, or for any URI that `tf.io.gfile` knows."""
    # Imported here so that asking for a local directory never imports TensorFlow.
    text = str(base)
    if "://" in text and not text.startswith("file://"):
        from serving.versions.remote_storage import RemoteStorage

        return RemoteStorage(text.rstrip("/"))
    path = Path(text.removeprefix("file://")).absolute()
    if (file_system := network_file_system(path)) is not None:
        from serving.versions.mounted_storage import MountedStorage

        return MountedStorage(path, permissions, file_system)
    from serving.versions.local_storage import LocalStorage

    return LocalStorage(path, permissions)
