"""What IdxExampleGen's artifact says about the spans that were read."""

import json

from tfx import types

SPANS_PROPERTY = "spans"
NEW_SPANS_PROPERTY = "new_spans"
SPANS_DETAIL_PROPERTY = "spans_detail"


def read_spans(examples: list[types.Artifact], name: str = SPANS_PROPERTY) -> list[int]:
    """Returns the spans in a custom property, ascending; none without an artifact."""
    listed = (artifact.get_string_custom_property(name) for artifact in examples)
    return sorted({span for text in listed for span in json.loads(text or "[]")})


def span_digests(examples: list[types.Artifact]) -> dict[int, str]:
    """Returns the SHA-256 of the files of each span that was read."""
    listed = (artifact.get_string_custom_property(SPANS_DETAIL_PROPERTY) for artifact in examples)
    return {each["span"]: each["sha256"] for text in listed for each in json.loads(text or "[]")}


def new_spans(examples: list[types.Artifact]) -> list[int]:
    """Returns the spans that a run has to judge."""
    return read_spans(examples, NEW_SPANS_PROPERTY)
