"""The versioned directory that a model server watches: list, publish, roll back, prune, label.

Only the standard library and pydantic are imported here, so that asking what is being served
costs milliseconds; `tf.io.gfile` is imported for remote destinations alone.
"""

from serving.versions.labels import (
    CONFIG_NAME,
    Labels,
    UnknownVersionError,
    listed_versions,
    move_label,
    read_labels,
)
from serving.versions.publish import PublishOutcome, PublishStatus, publish
from serving.versions.record import Pushed, RollbackNote, VersionRecord, checksums_of
from serving.versions.retention import prune
from serving.versions.rollback import Rollback, roll_back
from serving.versions.storage import PublishError
from serving.versions.store import Version, VersionState, VersionStore

__all__ = [
    "CONFIG_NAME",
    "Labels",
    "PublishError",
    "PublishOutcome",
    "PublishStatus",
    "Pushed",
    "Rollback",
    "RollbackNote",
    "UnknownVersionError",
    "Version",
    "VersionRecord",
    "VersionState",
    "VersionStore",
    "checksums_of",
    "listed_versions",
    "move_label",
    "prune",
    "publish",
    "read_labels",
    "roll_back",
]
