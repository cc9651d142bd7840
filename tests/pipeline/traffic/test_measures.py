"""Each measure of a picture sees one kind of change and is blind to the others."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter

from data import idx
from pipeline.settings.paths import SAMPLE_DATA
from pipeline.traffic.measures import measure


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """A hundred pieces of clothing, float32 [100, 28, 28, 1]."""
    images = idx.read_images(SAMPLE_DATA / "base" / "t10k-images-idx3-ubyte.gz")[:100]
    return images[..., np.newaxis].astype(np.float32)


def blurred(pictures: np.ndarray) -> np.ndarray:
    return np.stack(
        [
            np.asarray(Image.fromarray(each[..., 0].astype(np.uint8)).filter(ImageFilter.BLUR))
            for each in pictures
        ]
    )[..., np.newaxis].astype(np.float32)


@pytest.mark.parametrize(
    ("change", "moved", "kept"),
    [
        (
            lambda x: 255 - x,
            {"mean_pixel"},
            {"contrast", "sharpness", "foreground", "centre_x", "centre_y"},
        ),
        (lambda x: x / 2, {"mean_pixel", "contrast"}, {"sharpness", "centre_x", "centre_y"}),
        (lambda x: np.roll(x, 4, axis=2), {"centre_x"}, {"mean_pixel", "contrast", "centre_y"}),
        (lambda x: np.roll(x, 4, axis=1), {"centre_y"}, {"mean_pixel", "contrast", "centre_x"}),
        (blurred, {"sharpness"}, {"mean_pixel", "centre_x", "centre_y"}),
    ],
    ids=["inverted", "darker", "moved_right", "moved_down", "blurred"],
)
def test_a_change_moves_the_measures_that_name_it(
    pictures: np.ndarray, change: Callable[..., np.ndarray], moved: set[str], kept: set[str]
) -> None:
    before, after = measure(pictures), measure(change(pictures))
    shifts = {
        name: abs(after[name].mean() - before[name].mean()) / before[name].std() for name in before
    }
    assert {name for name in moved if shifts[name] < 0.5} == set()
    assert {name for name in kept if shifts[name] > 0.35} == set()


def test_pictures_of_one_grey_have_finite_measures() -> None:
    flat = np.concatenate([np.full((1, 5, 7, 3), value, np.float32) for value in (0, 255)])
    found = measure(flat)
    assert all(np.isfinite(values).all() for values in found.values())
    assert found["centre_x"].tolist() == [0.5, 0.5]
    assert found["foreground"].tolist() == [0, 0]
