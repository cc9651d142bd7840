"""What became of every version of every model: the states that GetModelStatus reports."""

from __future__ import annotations

import threading
from collections.abc import Collection

from serving.model_server.errors import ServingError
from serving.status import Code, State, VersionStatus


class StateMonitor:
    """Remembers the last state of each version, versions that ended included. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._states: dict[str, dict[int, VersionStatus]] = {}
        self._serial = 0
        self._serials: dict[tuple[str, int], int] = {}

    def publish(
        self, name: str, version: int, state: State, error: ServingError | None = None
    ) -> None:
        code, message = (error.code, error.message) if error else (Code.OK, "")
        with self._changed:
            self._serial += 1
            self._serials[name, version] = self._serial
            self._states.setdefault(name, {})[version] = VersionStatus(
                version, state, code, message
            )
            self._changed.notify_all()

    def versions(self, name: str) -> list[VersionStatus]:
        """Status of all versions ever seen of a model, newest first; empty if it is unknown."""
        with self._changed:
            return [status for _, status in sorted(self._states.get(name, {}).items())][::-1]

    def version(self, name: str, version: int) -> VersionStatus | None:
        with self._changed:
            return self._states.get(name, {}).get(version)

    def now(self) -> int:
        """A point in time, for `wait_until_available` to ignore what happened before it."""
        with self._changed:
            return self._serial

    def wait_until_available(
        self, names: Collection[str], since: int = 0, stopping: threading.Event | None = None
    ) -> dict[str, VersionStatus]:
        """Waits until a version of each model is AVAILABLE or has ended; returns these by model.

        Only states published after `since` count. Returns early, without the models still waited
        for, once `stopping` is set.
        """
        with self._changed:
            while True:
                reached = {name: self._reached(name, since) for name in names}
                done = {name: status for name, status in reached.items() if status}
                if len(done) == len(reached) or (stopping and stopping.is_set()):
                    return done
                self._changed.wait(timeout=0.1 if stopping else None)

    def _reached(self, name: str, since: int) -> VersionStatus | None:
        for version, status in sorted(self._states.get(name, {}).items(), reverse=True):
            if self._serials[name, version] > since and status.state in (
                State.AVAILABLE,
                State.END,
            ):
                return status
        return None
