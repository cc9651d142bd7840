"""What people and runs did to the versions of a model: `<base>/.versions/journal.jsonl`.

The records say how things are, this file how they came to be: which version was `stable` last
Tuesday, who took one back, and why.
"""

import getpass
import logging
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, Field, ValidationError

from files.lines import lines_of
from serving.versions.store import VersionStore

logger = logging.getLogger(__name__)

_FILE = ".versions/journal.jsonl"
_KEPT = 2_000


class Action(StrEnum):
    """What was done to a version."""

    LABELLED = "labelled"
    UNLABELLED = "unlabelled"
    ROLLED_BACK = "rolled_back"
    RESTORED = "restored"
    CANARY = "canary"
    PROMOTED = "promoted"
    ABORTED = "aborted"


def who() -> str:
    """Names the user and the machine of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a user that its system does not know.
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


class Entry(BaseModel):
    """One thing that was done.

    Attributes:
        at: when, UTC.
        who: the user and the machine.
        action: what.
        version: to which version; None: a label was removed.
        label: which label, if it is about one.
        before: the version that had the label before.
        reason: why, if that was said.
    """

    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    who: str = Field(default_factory=who)
    action: Action
    version: int | None = None
    label: str = ""
    before: int | None = None
    reason: str = ""


def write_entry(store: VersionStore, entry: Entry) -> None:
    """Adds an entry; the caller holds the store's lock. The oldest of very many go."""
    kept = [known.model_dump_json() for known in read_entries(store)][-(_KEPT - 1) :]
    store.storage.write(_FILE, "\n".join([*kept, entry.model_dump_json(), ""]))


def read_entries(store: VersionStore) -> list[Entry]:
    """Returns all entries, oldest first; a damaged line is left out, with a line in the log."""
    return list(_entries(store))


def _entries(store: VersionStore) -> Iterator[Entry]:
    try:
        lines = lines_of(store.storage.read(_FILE) or "")
    except store.storage.unreadable as error:
        logger.warning("%s cannot be read: %s", store.storage.uri(_FILE), error)
        return
    for number, line in enumerate(lines, start=1):
        try:
            yield Entry.model_validate_json(line)
        except ValidationError:
            logger.warning("%s: line %d is damaged", store.storage.uri(_FILE), number)
