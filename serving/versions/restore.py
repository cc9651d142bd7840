"""Taking a rollback back: the version is served again, and its bytes may be pushed again."""

import logging

from serving.versions.journal import Action, Entry, write_entry
from serving.versions.labels import UnknownVersionError, refresh_config
from serving.versions.store import VersionState, VersionStore

logger = logging.getLogger(__name__)


def restore(store: VersionStore, version: int, reason: str) -> None:
    """Renames a rolled-back version to its number, so that servers load it again.

    Args:
        store: the model's base directory.
        version: the version.
        reason: why, for the journal.

    Raises:
        UnknownVersionError: there is no such version, or it was not rolled back.
    """
    entry = Entry(action=Action.RESTORED, version=version, reason=reason)
    with store.storage.lock():
        found = store.get(version)
        if found is None or found.state is not VersionState.ROLLED_BACK:
            states = VersionState.ROLLED_BACK
            there = [str(each.number) for each in store.versions() if each.state is states]
            raise UnknownVersionError(
                f"Version {version} of {store.storage.base} is not rolled back; "
                f"rolled back are {', '.join(there) or 'none'}."
            )
        if found.record is not None:
            # First, because a version that is there must not have a record that refuses it.
            store.write_record(found.record.model_copy(update={"rolled_back": None}))
        store.bring_back(found)
        write_entry(store, entry)
        refresh_config(store)
    logger.warning("restored version %d: %s", version, reason)
