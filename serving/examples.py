"""The tf.Examples of classify and regress requests; shared by the server and whoever reads them."""

from typing import Any

# A context becomes a part of every example: without a bound, a megabyte would cost gigabytes.
_MAX_CONTEXTS_BYTES = 2**28
# The joined message, and the features that TensorFlow parses from it.
_COPIES = 2


class ContextTooLargeError(ValueError):
    """A context that would take too much memory as a part of every example."""


def serialized_examples(model_input: Any) -> list[bytes]:
    """The tf.Examples of an Input, each merged with the context if there is one.

    Protobufs merge by concatenation, which is what TensorFlow Serving does here. Raises
    ContextTooLargeError.
    """
    if model_input.WhichOneof("kind") == "example_list_with_context":
        context = model_input.example_list_with_context.context.SerializeToString()
        examples = model_input.example_list_with_context.examples
        context_bytes(context, len(examples))
        return [context + example.SerializeToString() for example in examples]
    return [example.SerializeToString() for example in model_input.example_list.examples]


def context_bytes(context: bytes, count: int) -> int:
    """The memory that a serialized context takes as a part of each of `count` examples.

    Raises ContextTooLargeError.
    """
    size = len(context) * count * _COPIES
    if size > _MAX_CONTEXTS_BYTES:
        raise ContextTooLargeError(
            f"A context of {len(context)} bytes is too large for {count} examples"
        )
    return size
