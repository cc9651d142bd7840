"""The words in which a model server tells how things stand: status codes, states of versions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Code(IntEnum):
    """Canonical status codes, numbered as in gRPC (google.rpc.Code)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class State(IntEnum):
    """States of a version, numbered as in TensorFlow Serving's `get_model_status.proto`."""

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionStatus:
    """State of one version; `code` and `message` say why it ended, if it ended in error."""

    version: int
    state: State
    code: Code = Code.OK
    message: str = ""

    @property
    def is_available(self) -> bool:
        """Whether the version answers requests."""
        return self.state is State.AVAILABLE

    @property
    def has_failed(self) -> bool:
        """Whether the server tried to load the version and gave up."""
        return self.state is State.END and (self.code is not Code.OK or bool(self.message))
