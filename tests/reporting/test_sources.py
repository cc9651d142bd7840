"""How the page names the data that a run read."""

import pytest

from reporting.page import Data, OriginStatistics
from reporting.sources import sources, training_sources


def read(spans: list[int], *origins: str) -> Data:
    statistics = [
        OriginStatistics(
            split="train",
            origin=origin,
            examples=1,
            classes={},
            brightness_mean=0,
            brightness_deviation=0,
            brightness=[],
        )
        for origin in origins
    ]
    return Data(spans=spans, statistics=statistics)


@pytest.mark.parametrize(
    ("data", "trained", "sentence"),
    [
        (read([], "base"), "the base set", "The run read the base set."),
        (
            read([3], "base", "span-3"),
            "the base set and span 3",
            "The run read the base set and span 3.",
        ),
        (
            read([3, 4], "span-3", "span-4"),
            "spans 3, 4",
            "The run read spans 3, 4 and the test images of the base set.",
        ),
    ],
)
def test_spans_and_the_base_set_are_named(data: Data, trained: str, sentence: str) -> None:
    assert (training_sources(data), sources(data)) == (trained, sentence)
