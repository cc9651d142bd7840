"""The tf.Examples of classify and regress requests; shared by the server and whoever reads them."""

from typing import Any


def serialized_examples(model_input: Any) -> list[bytes]:
    """The tf.Examples of an Input, each merged with the context if there is one.

    Protobufs merge by concatenation, which is what TensorFlow Serving does here.
    """
    if model_input.WhichOneof("kind") == "example_list_with_context":
        context = model_input.example_list_with_context.context.SerializeToString()
        examples = model_input.example_list_with_context.examples
        return [context + example.SerializeToString() for example in examples]
    return [example.SerializeToString() for example in model_input.example_list.examples]
