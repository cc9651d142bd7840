"""The 95 % interval of a share."""

import pytest

from components.metrics.wilson import wilson_interval


@pytest.mark.parametrize(
    ("right", "images", "low", "high"),
    # From Newcombe, https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_that_of_the_literature(
    right: int, images: int, low: float, high: float
) -> None:
    assert wilson_interval(right, images) == pytest.approx((low, high), abs=1e-4)


def test_of_no_image_nothing_is_known() -> None:
    assert wilson_interval(0, 0) == (0, 1)
