"""What predict, classify and regress bodies have in common.

Source: tensorflow_serving/util/json_tensor.cc.
"""

from __future__ import annotations

from serving.model_server.errors import ServingError, invalid_argument
from serving.model_server.rest.json_base64 import decode_base64
from serving.model_server.rest.json_document import JsonObject, JsonValue, debug_string


def text_of(value: bytes) -> str:
    """Bytes from a body as the text of a name or message; what is not UTF-8 survives."""
    return value.decode("utf-8", "surrogateescape")


def name_of(key: bytes) -> str:
    """A member's name where TensorFlow Serving reads it as a C string."""
    return text_of(key.partition(b"\0")[0])


def format_error(value: JsonValue, problem: str) -> ServingError:
    """INVALID_ARGUMENT that shows the beginning of `value`."""
    return invalid_argument(f"JSON Value: {debug_string(value)} {problem}")


def signature_name(document: JsonObject) -> str:
    """The signature that a body asks for, empty for the default one."""
    if b"signature_name" not in document:
        return ""
    name = document[b"signature_name"]
    if not isinstance(name, bytes):
        raise format_error(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    return text_of(name)


def is_base64(value: JsonValue) -> bool:
    """Whether `value` is `{"b64": "..."}` and nothing more."""
    return (
        isinstance(value, JsonObject)
        and len(value.members) == 1
        and value.members[0][0] == b"b64"
        and isinstance(value.members[0][1], bytes)
    )


def base64_bytes(value: JsonObject) -> bytes:
    """The bytes of a value that `is_base64`."""
    text = value[b"b64"]
    assert isinstance(text, bytes)
    try:
        return decode_base64(text)
    except ValueError:
        raise invalid_argument("Unable to base64 decode") from None
