"""How `predict` and the page make a photo into what a model was trained on."""

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.settings.config import Config
    from serving.client.interface import Prepare


def prepare_for(config: "Config") -> "Prepare":
    """Photos of clothes are cut out, light on black; of other classes they are sent as they are."""
    from data.photos import as_it_is, prepare

    if config.shows_clothes:
        return prepare
    return partial(as_it_is, max_pixels=config.serving.max_pixels)
