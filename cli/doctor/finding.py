"""What a check has found."""

from enum import StrEnum

from pydantic import BaseModel


class State(StrEnum):
    """How bad it is. Only `broken` keeps a run from working."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    BROKEN = "broken"


class Finding(BaseModel):
    """One thing that was looked at.

    Attributes:
        subject: what, in a word or two.
        state: how bad it is.
        text: what was found.
        advice: what to do about it, if anything.
    """

    subject: str
    state: State
    text: str
    advice: str = ""
