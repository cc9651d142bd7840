"""What clients of the pushed model see; the `serving` section of the settings."""

from pydantic import Field

from pipeline.modeling.features import MAX_PIXELS
from pipeline.settings.base import Settings


class ServingSettings(Settings):
    """What clients of the pushed model see."""

    model_name: str = Field(
        "fashion_mnist",
        # Not of dots alone: it names a folder.
        pattern=r"^\.*[A-Za-z0-9_-][A-Za-z0-9_.-]*$",
        description="in a client's requests",
    )
    default_signature: str = Field(
        "classify",
        pattern="^(classify|pixels)$",
        description="what `serving_default` is; pixels: bare pixel arrays in, bare lists out",
    )
    image_feature: str = Field(
        "image",
        min_length=1,
        description="a further name that an image may have in a client's tf.Examples",
    )
    max_pixels: int = Field(
        MAX_PIXELS,
        ge=1,
        lt=2**63,
        description="of a PNG or JPEG, width times height; larger ones are not decoded",
    )
