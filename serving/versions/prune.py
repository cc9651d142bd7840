"""Which versions stay: the last n, and whatever is labelled, served or rolled back to."""

import logging
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import pairwise

from serving.versions.labels import listed_versions, read_labels
from serving.versions.settling import wait_until_settled
from serving.versions.store import Version, VersionState, VersionStore

logger = logging.getLogger(__name__)

# The version before the newest always stays, or there would be nothing to roll back to.
_LEAST = 2


def prune(store: VersionStore, keep: int, live: Collection[int] = ()) -> list[int]:
    """Removes versions that nothing needs any more; their records stay.

    Versions without a record were put there by something else and are left alone. Rolled-back
    directories go once they are older than all that is kept; their bytes are refused all the same.
    What is left of a push that died goes at once; a version that was superseded a moment ago is
    given the seconds that a server needs to let go of it.

    Args:
        store: the model's base directory.
        keep: how many of the newest served versions stay; at least two do.
        live: versions that servers are known to have loaded.

    Returns:
        The versions that were removed, oldest first.
    """
    wait_until_settled(_superseded_at(store.served(), _unneeded(store, keep, live)))
    with store.storage.lock():
        doomed = _unneeded(store, keep, live)
        for version in doomed:
            _remove(store, version)
    return [version.number for version in doomed]


def _unneeded(store: VersionStore, keep: int, live: Collection[int]) -> list[Version]:
    """Returns the versions whose directories can go, oldest first."""
    versions = store.versions()
    served = [v for v in versions if v.state is VersionState.PRESENT]
    last = {version.number for version in served[: max(keep, _LEAST)]}
    state = read_labels(store)
    labelled = set(state.labels.values()) if state else set()
    floor = min(last, default=0)
    rolled_back = [v for v in versions if v.state is VersionState.ROLLED_BACK]
    recent = [v for v in rolled_back if v.number > floor]
    rolled_back_to = {number for v in recent if (number := _went_to(v)) is not None}
    needed = {*last, *labelled, *live, *listed_versions(store), *rolled_back_to}
    doomed = [v for v in served if v.record is not None and v.number not in needed]
    doomed += [v for v in rolled_back if v not in recent]
    doomed += [v for v in versions if v.state is VersionState.INCOMPLETE and v.record]
    return sorted(doomed, key=lambda version: version.number)


def _superseded_at(served: list[Version], doomed: list[Version]) -> list[datetime]:
    """Returns when servers were given something newer than each of the doomed versions."""
    successors = {older.number: newer for newer, older in pairwise(served)}
    newer = [successors[v.number] for v in doomed if v.number in successors]
    return [version.record.pushed_at for version in newer if version.record is not None]


def _went_to(version: Version) -> int | None:
    note = version.record.rolled_back if version.record else None
    return note.to_version if note else None


def _remove(store: VersionStore, version: Version) -> None:
    store.remove(version)
    store.remove_statistics(version.number)
    if version.record is not None:
        pruned = version.record.model_copy(update={"pruned_at": datetime.now(UTC)})
        store.write_record(pruned)
    logger.info("pruned version %d from %s", version.number, store.storage.base)
