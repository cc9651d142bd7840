"""Going back: the bad version is renamed, and a server falls back to the one before it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from serving.versions.journal import Action, Entry, write_entry
from serving.versions.labels import UnknownVersionError, move_label, read_labels, refresh_config
from serving.versions.record import RollbackNote
from serving.versions.settling import wait_until_settled
from serving.versions.store import Version, VersionState, VersionStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rollback:
    """The version that was taken back, and the newest one that is left (None: none is)."""

    version: int
    to_version: int | None


def roll_back(
    store: VersionStore,
    version: int | None,
    reason: str,
    *,
    allow_last: bool = False,
    wait_until_loaded: Callable[[int], None] = lambda _: None,
) -> Rollback:
    """Takes a version back; its bytes are refused by later pushes.

    Labels on it move to the version before it first, in the two steps of `move_label`. A version
    that was pushed a moment ago is given the seconds that a server needs to load it.

    Args:
        store: the model's base directory.
        version: the bad version; None: the newest served one.
        reason: why, for the record and for whoever tries to push it again.
        allow_last: take the version back even when nothing is left to serve.
        wait_until_loaded: as in `move_label`.

    Raises:
        UnknownVersionError: there is no such version, or none to go back to.
    """
    bad, left = _choose(store, version, allow_last)
    # Made before anything is changed: it must not be missing for want of who did it.
    entry = Entry(action=Action.ROLLED_BACK, version=bad.number, reason=reason)
    if bad.record is not None:
        wait_until_settled([bad.record.pushed_at])
    before = next((number for number in left if number < bad.number), max(left, default=None))
    _free_labels(store, bad.number, before, wait_until_loaded)
    with store.storage.lock():
        bad, left = _choose(store, bad.number, allow_last)
        serving = max(left, default=None)
        note = RollbackNote(at=datetime.now(UTC), reason=reason, to_version=serving)
        with _noted(store, bad, note):
            store.retire(bad)
        write_entry(store, entry)
        refresh_config(store)
    logger.warning("rolled back version %d, now serving %s: %s", bad.number, serving, reason)
    return Rollback(bad.number, serving)


@contextmanager
def _noted(store: VersionStore, bad: Version, note: RollbackNote) -> Iterator[None]:
    """Has the record say so before a version is taken back, and no longer if it stays whole."""
    if bad.record is not None:
        store.write_record(bad.record.model_copy(update={"rolled_back": note}))
    try:
        yield
    except store.storage.errors:
        now = store.get(bad.number)
        if bad.record is not None and now and now.state is VersionState.PRESENT:
            store.write_record(bad.record)
        raise


def _choose(
    store: VersionStore, version: int | None, allow_last: bool
) -> tuple[Version, list[int]]:
    """Returns the version to take back, and the numbers of those that are left, newest first."""
    served = store.served()
    bad = next((v for v in served if version in (None, v.number)), None)
    if bad is None:
        what = "Nothing is" if version is None else f"Version {version} is not"
        raise UnknownVersionError(f"{what} served from {store.storage.base}.")
    left = [candidate.number for candidate in served if candidate is not bad]
    if not left and not allow_last:
        raise UnknownVersionError(
            f"Version {bad.number} is the only one in {store.storage.base}: nothing would be "
            "left to serve. Use --force to take it back all the same."
        )
    return bad, left


def _free_labels(
    store: VersionStore,
    version: int,
    target: int | None,
    wait_until_loaded: Callable[[int], None],
) -> None:
    """Points the version's labels at the one that takes over, before its directory goes."""
    state = read_labels(store)
    labels = state.labels.items() if state else ()
    for label in [name for name, number in labels if number == version]:
        move_label(
            store,
            label,
            target,
            model_name=state.model_name if state else "",
            base_path=None,
            wait_until_loaded=wait_until_loaded,
        )
