"""What is wrong with the data, and which spans that speaks against."""

from collections.abc import Iterable
from dataclasses import dataclass

from data.layout import BASE_ORIGIN, Layout, origin_of, span_of


@dataclass(frozen=True)
class Problem:
    """A reason to refuse the data.

    Attributes:
        origin: whose it is, as of a pair.
        sentence: names the file.
        is_misfit: the files are sound and do not fit the settings; either of the two may be wrong.
    """

    origin: str
    sentence: str
    is_misfit: bool = False


def spans_to_blame(problems: Iterable[Problem], layout: Layout) -> set[int]:
    """The spans that are damaged while the base is not, and the new ones that alone do not fit.

    What was served from already fitted once: where it no longer does, the settings are to blame.
    That pictures do not fit is no evidence either until others do by the same settings, as the
    base's IDX files have neither names of classes nor many pixels.
    """
    problems = list(problems)
    damaged = {problem.origin for problem in problems if not problem.is_misfit}
    misfits = {problem.origin for problem in problems if problem.is_misfit}
    new = set(map(origin_of, layout.new_spans))
    of_pictures = {found.origin for found in layout.folders}
    if misfits - new:
        misfits = set()
    elif not of_pictures - new:
        misfits -= of_pictures
    return set() if BASE_ORIGIN in damaged else {span_of(origin) for origin in damaged | misfits}
