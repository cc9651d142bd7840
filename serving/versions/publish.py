"""Pushing a model: one new version, complete and verified, or nothing at all."""

import logging
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from serving.versions.labels import ensure_listed, refresh_config
from serving.versions.record import Pushed, VersionRecord, checksums_of
from serving.versions.storage import PublishError, differences, not_pushed
from serving.versions.store import Version, VersionState, VersionStore

if TYPE_CHECKING:
    from serving.versions.signature import Signer

logger = logging.getLogger(__name__)


class PushStatus(StrEnum):
    """What became of a model; the values are those of a run's status."""

    PUSHED = "pushed"
    # The live server could not be asked.
    PUSHED_UNCONFIRMED = "pushed_unconfirmed"
    UP_TO_DATE = "up_to_date"
    NOT_BLESSED = "not_blessed"
    INFRA_REFUSED = "infra_refused"
    # Taken back by the live check, or refused because its bytes were rolled back before.
    ROLLED_BACK = "rolled_back"

    @classmethod
    def _missing_(cls, value: object) -> "PushStatus | None":
        # Earlier releases wrote so when the bytes had been rolled back before.
        return cls.ROLLED_BACK if value == "refused" else None


@dataclass(frozen=True)
class PublishOutcome:
    """What became of a push, and of which version.

    Attributes:
        status: what became of it.
        version: the new version, the one that already serves the same bytes, or the rolled-back
            one that has them.
        directory: that version's directory; None when it is gone.
        reasons: why it was refused.
    """

    status: PushStatus
    version: int
    directory: str | None
    reasons: list[str] = field(default_factory=list)


def publish(
    store: VersionStore,
    model: Path,
    pushed: Pushed,
    *,
    blessed: Mapping[str, str] | None = None,
    statistics: Path | None = None,
    signer: "Signer | None" = None,
) -> PublishOutcome:
    """Makes a SavedModel the newest version, unless its bytes are served or were rolled back.

    The number is the UNIX time of the push, or one above the highest ever used here.

    Args:
        store: the model's base directory.
        model: the SavedModel's directory.
        pushed: what is known about the model.
        blessed: the checksums it was blessed with; None: those it has now.
        statistics: a folder with the statistics of its training data, kept beside the record.
        signer: signs the version; also the one that serves the same bytes, if nobody has.

    Raises:
        PublishError: the model is not what was blessed, or the destination could not be written;
            the message says whether the version is live.
    """
    try:
        checksums = _verified(model, blessed)
        outcome = _settled(store, checksums, pushed.execution)
        if outcome is None:
            signed = partial(_signature, signer, model)
            with store.storage.stage(model, checksums) as reveal:
                outcome = _publish_staged(store, reveal, checksums, pushed, statistics, signed)
        elif outcome.status is not PushStatus.ROLLED_BACK:
            ensure_listed(store, outcome.version)
            if signer is not None:
                _sign_served(store, signer, model, outcome.version)
    except store.storage.errors as error:
        raise PublishError(not_pushed(store.storage.base, error)) from error
    return outcome


def _verified(model: Path, blessed: Mapping[str, str] | None) -> dict[str, str]:
    """Returns the model's checksums; raises PublishError unless it can be pushed as it is."""
    _check_plain(model)
    checksums = checksums_of(model)
    if blessed is not None and checksums != dict(blessed):
        raise PublishError(
            f"{model} is not what was blessed: {differences(blessed, checksums)}. "
            "Nothing was pushed."
        )
    if "saved_model.pb" not in checksums:
        raise PublishError(f"{model} is not a SavedModel: it has no saved_model.pb.")
    return checksums


def _check_plain(model: Path) -> None:
    """Raises PublishError if there is anything but files and folders in a model."""
    for folder, folders, files in os.walk(model, onerror=_raise):
        for path in (Path(folder, name) for name in [*folders, *files]):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                continue
            what = (
                f"a symbolic link to {path.readlink()}"
                if stat.S_ISLNK(mode)
                else "neither a file nor a folder"
            )
            raise PublishError(
                f"{path} is {what}. A version is a copy of plain files: replace it by what it "
                "stands for. Nothing was pushed."
            )


def _raise(error: OSError) -> None:
    raise error


def _publish_staged(
    store: VersionStore,
    reveal: Callable[[str], None],
    checksums: Mapping[str, str],
    pushed: Pushed,
    statistics: Path | None,
    signed: Callable[[VersionRecord], str | None],
) -> PublishOutcome:
    with store.storage.lock():
        # Another pusher may have been first while the files were copied.
        if outcome := _settled(store, checksums, pushed.execution):
            return outcome
        number = store.next_number()
        store.write_highest(number)
        if statistics is not None:
            store.write_statistics(number, statistics)
        record = VersionRecord(
            version=number,
            pushed_at=datetime.now(UTC),
            checksums=dict(checksums),
            **pushed.model_dump(),
        )
        signature = signed(record)
        # The record comes first: whoever sees the version finds its record.
        store.write_record(record)
        if signature:
            store.write_signature(number, signature)
        directory = store.storage.uri(str(number))
        try:
            reveal(str(number))
            refresh_config(store)
        except store.storage.errors as error:
            if not _is_live(store, number, checksums):
                raise
            raise PublishError(
                f"Version {number} is live in {store.storage.base}, but its push could not be "
                f"completed: {error}. Push again once that is mended; the version stays the same."
            ) from error
    logger.info("pushed version %d to %s", number, directory)
    return PublishOutcome(PushStatus.PUSHED, number, directory)


def _signature(signer: "Signer | None", model: Path, record: VersionRecord) -> str | None:
    return signer.sign(model, record) if signer else None


def _sign_served(store: VersionStore, signer: "Signer", model: Path, number: int) -> None:
    """Signs a version that was pushed before there was a key."""
    version = store.get(number)
    if version and version.record and not store.is_signed(number):
        store.write_signature(number, signer.sign(model, version.record))
        logger.info("signed version %d, which was served unsigned", number)


def _is_live(store: VersionStore, number: int, checksums: Mapping[str, str]) -> bool:
    try:
        return store.storage.checksums(str(number)) == dict(checksums)
    except store.storage.errors:
        return False


def _settled(
    store: VersionStore, checksums: Mapping[str, str], execution: str
) -> PublishOutcome | None:
    """Returns what became of these bytes before, if that decides what becomes of them now."""
    versions = [version for version in store.versions() if version.record is not None]
    same = [v for v in versions if v.record and v.record.checksums == checksums]
    served = [v for v in versions if v.state is VersionState.PRESENT]
    for version in same:
        if version in served and _is_own(version, execution) and store.is_intact(version):
            logger.info("version %d was pushed by this very execution", version.number)
            return PublishOutcome(PushStatus.PUSHED, version.number, version.directory)
    if served and served[0] in same:
        if store.is_intact(served[0]):
            return PublishOutcome(PushStatus.UP_TO_DATE, served[0].number, served[0].directory)
        logger.warning("version %d is damaged on disk; pushing again", served[0].number)
    taken_back = next((version for version in same if version.was_rolled_back), None)
    return _refused(taken_back) if taken_back else None


def _is_own(version: Version, execution: str) -> bool:
    record = version.record
    return bool(execution) and record is not None and record.execution == execution


def _refused(version: Version) -> PublishOutcome:
    note = version.record.rolled_back if version.record else None
    why = f"{note.at:%Y-%m-%d %H:%M} UTC: {note.reason}" if note else "no reason recorded"
    reason = (
        f"Version {version.number} has the same bytes and was rolled back ({why}). "
        "Push a model that differs from it."
    )
    return PublishOutcome(PushStatus.ROLLED_BACK, version.number, version.directory, [reason])
