"""Names in words the data that a run read."""

from data.layout import BASE_ORIGIN
from reporting.page import Data

_BASE = "the base set"


def sources(data: Data) -> str:
    """Says in a sentence what the run read."""
    if not data.spans or _trained_on_base(data):
        return f"The run read {training_sources(data)}."
    return f"The run read {training_sources(data)} and the test images of {_BASE}."


def training_sources(data: Data) -> str:
    """Names what the run trained on."""
    spans = f"span{'s' if len(data.spans) > 1 else ''} {', '.join(map(str, data.spans))}"
    if not data.spans:
        return _BASE
    return f"{_BASE} and {spans}" if _trained_on_base(data) else spans


def _trained_on_base(data: Data) -> bool:
    return ("train", BASE_ORIGIN) in [(part.split, part.origin) for part in data.statistics]
