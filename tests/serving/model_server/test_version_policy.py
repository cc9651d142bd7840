"""The two transition policies, case by case."""

import pytest

from serving.model_server.version_policy import (
    Action,
    AspiredVersionPolicy,
    HarnessState,
    Snapshot,
)

NEW, LOADING, READY = HarnessState.NEW, HarnessState.LOADING, HarnessState.READY
UNLOADING, DISABLED, ERROR = HarnessState.UNLOADING, HarnessState.DISABLED, HarnessState.ERROR


def versions(*items: tuple[int, HarnessState, bool]) -> list[Snapshot]:
    return [Snapshot(*item) for item in items]


@pytest.mark.parametrize(
    ("managed", "action"),
    [
        (versions(), None),
        (versions((1, NEW, True), (2, NEW, True)), (Action.LOAD, 2)),
        (versions((1, READY, False), (2, NEW, True)), (Action.LOAD, 2)),
        (versions((1, READY, False), (2, LOADING, True)), None),
        (versions((1, READY, False), (2, ERROR, True)), None),
        (versions((1, READY, False), (2, READY, True)), (Action.UNLOAD, 1)),
        (versions((1, READY, False), (2, READY, False)), (Action.UNLOAD, 1)),
        (versions((1, READY, False)), (Action.UNLOAD, 1)),
        (versions((1, READY, False), (2, READY, False), (3, NEW, True)), (Action.UNLOAD, 1)),
        (versions((1, READY, True)), None),
    ],
)
def test_availability_is_preserved(
    managed: list[Snapshot], action: tuple[Action, int] | None
) -> None:
    assert AspiredVersionPolicy.AVAILABILITY_PRESERVING.next_action(managed) == action


@pytest.mark.parametrize(
    ("managed", "action"),
    [
        (versions((1, READY, False), (2, NEW, True)), (Action.UNLOAD, 1)),
        (versions((1, UNLOADING, False), (2, NEW, True)), None),
        (versions((1, LOADING, False), (2, NEW, True)), None),
        (versions((1, DISABLED, False), (2, NEW, True)), (Action.LOAD, 2)),
        (versions((1, ERROR, False), (2, NEW, True)), (Action.LOAD, 2)),
        (versions((1, READY, True), (2, NEW, True)), (Action.LOAD, 2)),
    ],
)
def test_resources_are_preserved(
    managed: list[Snapshot], action: tuple[Action, int] | None
) -> None:
    assert AspiredVersionPolicy.RESOURCE_PRESERVING.next_action(managed) == action
