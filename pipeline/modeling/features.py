"""Names and sizes that the data, the model and the clients of Fashion-MNIST agree on."""

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


def transformed_name(feature: str) -> str:
    """Returns the name of `feature` after Transform."""
    return f"{feature}_xf"
