"""Names and sizes that the data, the model and the clients of a model agree on."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from data.fit import Fit

IMAGE = "image"
LABEL = "label"
ORIGIN = "origin"
MEAN_PIXEL = "mean_pixel"

IMAGE_SIZE = 28
# Of an image that a client sends, width times height: more than a camera's picture, and no more
# memory than a server has for one request.
MAX_PIXELS = 25_000_000

# The order is that of the label integers in the official files.
CLASS_LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CLASS_COUNT = len(CLASS_LABELS)


class Color(StrEnum):
    """What the network sees of a picture's colours."""

    GREY = "grey"
    RGB = "rgb"


class ImageFormat(BaseModel):
    """What every picture becomes before the network sees it.

    Attributes:
        size: height and width in pixels.
        color: grey or red, green and blue.
        fit: what becomes of a picture that is not square.
        max_pixels: a picture of more, width times height, is refused and not decoded.
    """

    model_config = ConfigDict(frozen=True)

    size: int = IMAGE_SIZE
    color: Color = Color.GREY
    fit: Fit = Fit.SQUASH
    max_pixels: int = MAX_PIXELS

    @property
    def channels(self) -> int:
        """Values of one pixel."""
        return 3 if self.color is Color.RGB else 1

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image: height, width, channels."""
        return self.size, self.size, self.channels


def transformed_name(feature: str) -> str:
    """Returns the name of `feature` after Transform."""
    return f"{feature}_xf"
