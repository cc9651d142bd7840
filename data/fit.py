"""What becomes of a picture that is not square."""

from enum import StrEnum


class Fit(StrEnum):
    """How its pixels come into a square."""

    SQUASH = "squash"  # they are scaled in one direction more than in the other
    CROP = "crop"  # the middle is cut out
    PAD = "pad"  # black is put on both sides
