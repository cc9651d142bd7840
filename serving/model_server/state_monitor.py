"""What became of every version of every model: the states that GetModelStatus reports."""

from __future__ import annotations

import threading

from serving.model_server.errors import ServingError
from serving.status import Code, State, VersionStatus


class StateMonitor:
    """Remembers the last state of each version, versions that ended included. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._states: dict[str, dict[int, VersionStatus]] = {}

    def publish(
        self, name: str, version: int, state: State, error: ServingError | None = None
    ) -> None:
        code, message = (error.code, error.message) if error else (Code.OK, "")
        with self._changed:
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

    def is_any_available(self) -> bool:
        """Whether any version of any model is AVAILABLE."""
        with self._changed:
            return any(
                status.state is State.AVAILABLE
                for versions in self._states.values()
                for status in versions.values()
            )

    def wait_for_change(self, seconds: float) -> None:
        """Returns at the next `publish`, or after `seconds`."""
        with self._changed:
            self._changed.wait(seconds)
