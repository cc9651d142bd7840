"""Which version to load or unload next, given what is aspired.

The two policies of TensorFlow Serving, `tensorflow_serving/core/availability_preserving_policy.cc`
and `resource_preserving_policy.cc`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class HarnessState(Enum):
    """Where a version is on its way from discovery to removal."""

    NEW = "new"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    DISABLED = "disabled"
    ERROR = "error"


class Action(Enum):
    LOAD = "load"
    UNLOAD = "unload"


@dataclass(frozen=True)
class Snapshot:
    """State of one managed version of a model, as a policy sees it."""

    version: int
    state: HarnessState
    is_aspired: bool


def _load_newest(versions: Sequence[Snapshot]) -> tuple[Action, int] | None:
    new = [item.version for item in versions if item.is_aspired and item.state == HarnessState.NEW]
    return (Action.LOAD, max(new)) if new else None


def availability_preserving(versions: Sequence[Snapshot]) -> tuple[Action, int] | None:
    """Unloads an old version only when an aspired one is ready: never a gap, more memory."""
    ready = [item for item in versions if item.state == HarnessState.READY]
    surplus = [item.version for item in ready if not item.is_aspired]
    has_aspired = any(item.is_aspired for item in versions)
    has_aspired_ready = any(item.is_aspired for item in ready)
    if surplus and (not has_aspired or has_aspired_ready or len(surplus) > 1):
        return Action.UNLOAD, min(surplus)
    return _load_newest(versions)


def resource_preserving(versions: Sequence[Snapshot]) -> tuple[Action, int] | None:
    """Unloads the old version before the new one is loaded: less memory, a gap in serving."""
    for item in versions:
        if item.state == HarnessState.READY and not item.is_aspired:
            return Action.UNLOAD, item.version
    finished = (HarnessState.DISABLED, HarnessState.ERROR)
    if any(not item.is_aspired and item.state not in finished for item in versions):
        return None
    return _load_newest(versions)


class AspiredVersionPolicy(Enum):
    """The policies by the names the command line knows."""

    AVAILABILITY_PRESERVING = "availability_preserving"
    RESOURCE_PRESERVING = "resource_preserving"

    def next_action(self, versions: Sequence[Snapshot]) -> tuple[Action, int] | None:
        """The next thing to do with one model's versions, None if there is nothing."""
        if self is AspiredVersionPolicy.AVAILABILITY_PRESERVING:
            return availability_preserving(versions)
        return resource_preserving(versions)
