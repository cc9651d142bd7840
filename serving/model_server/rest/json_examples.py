"""REST classify and regress bodies to tf.Examples, with TensorFlow Serving's rules and texts.

This is the complete reading of a body; `json_fast_path` reads the frequent ones with the same
result. Source: tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorflow.core.example import example_pb2, feature_pb2

from serving.examples import ContextTooLargeError, context_bytes
from serving.model_server import deadline
from serving.model_server.errors import invalid_argument
from serving.model_server.rest.json_body import (
    base64_bytes,
    format_error,
    is_base64,
    name_of,
    signature_name,
)
from serving.model_server.rest.json_document import JsonObject, JsonValue, parse, type_name


@dataclass(slots=True)
class ExamplesBody:
    """A classify or regress request: serialized tf.Examples, each merged with the context."""

    signature_name: str
    examples: list[bytes]


def read_examples(body: bytes, take_bytes: Callable[[int], None] | None = None) -> ExamplesBody:
    """Reads a classify or regress request; raises ServingError with TensorFlow Serving's text.

    Past the deadline of the call, the error is DEADLINE_EXCEEDED. `take_bytes` is asked for the
    memory that a context takes beside every example, before there is any, and may refuse it.
    """
    document = parse(body)
    name = signature_name(document)
    context = _example(document[b"context"]) if b"context" in document else b""
    if b"examples" not in document:
        raise format_error(
            document, "When method is classify, key 'examples' is expected and was not found"
        )
    examples = document[b"examples"]
    if not isinstance(examples, list):
        raise format_error(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise format_error(document, "'examples' value is an empty array")
    try:
        repeated = context_bytes(context, len(examples))
    except ContextTooLargeError as error:
        raise invalid_argument(str(error)) from error
    if take_bytes:
        take_bytes(repeated)
    # Serialized messages merge when they are joined; the example's features come last and win.
    serialized = []
    for example in examples:
        deadline.check()
        serialized.append(context + _example(example))
    return ExamplesBody(name, serialized)


def _example(value: JsonValue) -> bytes:
    """A serialized tf.Example from an object of features; of a name sent twice the last counts."""
    if not isinstance(value, JsonObject):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    example = example_pb2.Example()
    for key, content in value.members:
        name = name_of(key)
        feature = feature_pb2.Feature()
        for element in content if isinstance(content, list) else [content]:
            _add_to_feature(element, name, feature)
        # Names in a protobuf are UTF-8; a graph cannot ask for any other.
        field = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        example.features.feature[field].CopyFrom(feature)
    return example.SerializeToString()


def _add_to_feature(value: JsonValue, name: str, feature: Any) -> None:
    if isinstance(value, bool):
        _list_of("int64", name, feature).append(int(value))
    elif isinstance(value, bytes):
        _list_of("bytes", name, feature).append(value)
    elif isinstance(value, JsonObject) and is_base64(value):
        # The kind is checked first: decoding may fail too, with another text.
        _list_of("bytes", name, feature).append(base64_bytes(value))
    elif isinstance(value, float):
        _list_of("float", name, feature).append(value)
    elif isinstance(value, int):
        integers = _list_of("int64", name, feature)
        if value >= 2**63:
            raise invalid_argument(
                f"Feature: {name} has uint64_t element. Only int64_t is supported."
            )
        integers.append(value)
    else:
        raise invalid_argument(
            f"Feature: {name} has element with unexpected JSON type: {type_name(value)}"
        )


def _list_of(kind: str, name: str, feature: Any) -> Any:
    """The list of values of a feature, whose kind its first value decides."""
    decided = feature.WhichOneof("kind")
    if decided not in (None, f"{kind}_list"):
        raise invalid_argument(
            f"Unexpected element type in feature: {name} "
            f"expecting type: {decided.removesuffix('_list')}"
        )
    return getattr(feature, f"{kind}_list").value
