"""What can be measured of a picture without knowing what it shows.

Each measure sees one kind of change and is blind to the others, as far as that goes, so that the
one that moved says what happened: an inverted picture has another mean, and the same contrast,
foreground, sharpness and centre.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

MEAN = "mean_pixel"
CONTRAST = "contrast"
FOREGROUND = "foreground"
SHARPNESS = "sharpness"
CENTRE_X = "centre_x"
CENTRE_Y = "centre_y"

MEASURES = {
    MEAN: "mean of the pixels, 0 to 255",
    CONTRAST: "standard deviation of the pixels, 0 to 128",
    FOREGROUND: "share of the pixels that differ from the border, 0 to 1",
    SHARPNESS: "change from pixel to pixel, in shares of the contrast",
    CENTRE_X: "centre of the foreground, 0 (left) to 1 (right)",
    CENTRE_Y: "centre of the foreground, 0 (top) to 1 (bottom)",
}

# Of 255: less may be noise or the traces of a lossy format.
_DIFFERENT = 16.0


def measure(images: Floats) -> dict[str, Floats]:
    """Returns every measure of every picture, float32 [N].

    Args:
        images: as the model sees them, float32 [N, height, width, channels], 0 to 255.
    """
    grey = images.mean(axis=3)
    contrast = grey.std(axis=(1, 2))
    rims = (grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1])
    background = np.median(np.concatenate(rims, axis=1), axis=1)
    differences = np.abs(grey - background[:, np.newaxis, np.newaxis])
    across = np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
    down = np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2))
    measured = {
        MEAN: grey.mean(axis=(1, 2)),
        CONTRAST: contrast,
        FOREGROUND: (differences > _DIFFERENT).mean(axis=(1, 2)),
        SHARPNESS: (across + down) / np.maximum(contrast, 1.0),
        CENTRE_X: _centre(differences.sum(axis=1)),
        CENTRE_Y: _centre(differences.sum(axis=2)),
    }
    return {name: values.astype(np.float32) for name, values in measured.items()}


def _centre(weights: Floats) -> Floats:
    """The centre of weights along a line, [N, length], as a share of the line."""
    places = (np.arange(weights.shape[1]) + 0.5) / weights.shape[1]
    total = weights.sum(axis=1)
    # A picture of one grey has its centre in the middle.
    return np.where(total > 0, weights @ places / np.maximum(total, 1e-6), 0.5)
