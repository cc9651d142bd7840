"""How a run and its nodes end, and the exit code for each end."""

from enum import StrEnum


class Status(StrEnum):
    """How a run ended."""

    PUSHED = "pushed"
    PUSHED_UNCONFIRMED = "pushed_unconfirmed"
    UP_TO_DATE = "up_to_date"
    NOT_BLESSED = "not_blessed"
    INFRA_REFUSED = "infra_refused"
    DATA_REFUSED = "data_refused"
    ROLLED_BACK = "rolled_back"
    BUSY = "busy"
    INTERRUPTED = "interrupted"
    FAILED = "failed"

    @property
    def exit_code(self) -> int:
        """The command line's exit code for this status."""
        return _EXIT_CODES[self]

    @property
    def is_served(self) -> bool:
        """Whether the run's model, or one like it, is in the serving directory."""
        return self in (Status.PUSHED, Status.PUSHED_UNCONFIRMED, Status.UP_TO_DATE)

    @property
    def is_refusal(self) -> bool:
        """Whether an identical run would be refused again, for the same reasons."""
        return self in (
            Status.NOT_BLESSED,
            Status.INFRA_REFUSED,
            Status.DATA_REFUSED,
            Status.ROLLED_BACK,
        )


_EXIT_CODES = {
    Status.PUSHED: 0,
    Status.UP_TO_DATE: 0,
    Status.FAILED: 1,
    Status.NOT_BLESSED: 3,
    Status.INFRA_REFUSED: 4,
    Status.DATA_REFUSED: 5,
    Status.ROLLED_BACK: 6,
    Status.BUSY: 7,
    Status.PUSHED_UNCONFIRMED: 8,
    Status.INTERRUPTED: 130,
}


class NodeState(StrEnum):
    """How far a node of the pipeline has come."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    SKIPPED = "skipped"
