"""Pushing a model: one new version, complete and verified, or nothing at all."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from serving.versions.labels import refresh_config
from serving.versions.record import Pushed, VersionRecord, checksums_of
from serving.versions.storage import PublishError, differences
from serving.versions.store import VersionState, VersionStore

if TYPE_CHECKING:
    from serving.versions.signature import Signer

logger = logging.getLogger(__name__)


class PublishStatus(StrEnum):
    """What became of a push."""

    PUSHED = "pushed"
    UP_TO_DATE = "up_to_date"
    REFUSED = "refused"


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

    status: PublishStatus
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
            nothing was pushed.
    """
    checksums = checksums_of(model)
    if blessed is not None and checksums != dict(blessed):
        raise PublishError(
            f"{model} is not what was blessed: {differences(blessed, checksums)}. "
            "Nothing was pushed."
        )
    if "saved_model.pb" not in checksums:
        raise PublishError(f"{model} is not a SavedModel: it has no saved_model.pb.")
    if outcome := _settled(store, checksums, pushed.execution):
        if signer and outcome.status is not PublishStatus.REFUSED:
            _sign_served(store, signer, model, outcome.version)
        return outcome
    with store.storage.stage(model, checksums) as reveal:
        try:
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
                    checksums=checksums,
                    **pushed.model_dump(),
                )
                signature = signer.sign(model, record) if signer else None
                # The record comes first: whoever sees the version finds its record.
                store.write_record(record)
                if signature:
                    store.write_signature(number, signature)
                reveal(str(number))
                refresh_config(store)
        except OSError as error:
            raise PublishError(
                f"Could not push to {store.storage.base}: {error}. Nothing was pushed."
            ) from error
    directory = store.storage.uri(str(number))
    logger.info("pushed version %d to %s", number, directory)
    return PublishOutcome(PublishStatus.PUSHED, number, directory)


def _sign_served(store: VersionStore, signer: "Signer", model: Path, number: int) -> None:
    """Signs a version that was pushed before there was a key."""
    version = store.get(number)
    if version and version.record and not store.is_signed(number):
        store.write_signature(number, signer.sign(model, version.record))
        logger.info("signed version %d, which was served unsigned", number)


def _settled(
    store: VersionStore, checksums: Mapping[str, str], execution: str
) -> PublishOutcome | None:
    """Returns what became of these bytes before, if that decides what becomes of them now."""
    versions = [version for version in store.versions() if version.record is not None]
    same = [v for v in versions if v.record and v.record.checksums == checksums]
    served = [v for v in versions if v.state is VersionState.SERVED]
    for version in same:
        own = (
            bool(execution) and version.record is not None and version.record.execution == execution
        )
        if own and version in served and store.is_intact(version):
            logger.info("version %d was pushed by this very execution", version.number)
            return PublishOutcome(PublishStatus.PUSHED, version.number, version.directory)
    if served and served[0] in same:
        if store.is_intact(served[0]):
            return PublishOutcome(PublishStatus.UP_TO_DATE, served[0].number, served[0].directory)
        logger.warning("version %d is damaged on disk; pushing again", served[0].number)
    for version in same:
        if version.was_rolled_back and version.record is not None:
            note = version.record.rolled_back
            why = f"{note.at:%Y-%m-%d %H:%M} UTC: {note.reason}" if note else "no reason recorded"
            reason = (
                f"Version {version.number} has the same bytes and was rolled back ({why}). "
                "Push a model that differs from it."
            )
            return PublishOutcome(
                PublishStatus.REFUSED, version.number, version.directory, [reason]
            )
    return None
