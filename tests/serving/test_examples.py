"""A context is a part of every example, and may not cost gigabytes by it."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import classification_pb2, input_pb2

from serving.examples import ContextTooLargeError, serialized_examples
from serving.model_server import inference
from serving.model_server.errors import Code, ServingError


def example(name: str, value: bytes) -> example_pb2.Example:
    made = example_pb2.Example()
    made.features.feature[name].bytes_list.value.append(value)
    return made


def with_context(context: bytes, count: int) -> input_pb2.Input:
    examples = [example("own", b"%d" % row) for row in range(count)]
    return input_pb2.Input(
        example_list_with_context=input_pb2.ExampleListWithContext(
            context=example("shared", context), examples=examples
        )
    )


def test_a_context_is_merged_into_every_example() -> None:
    merged = [
        example_pb2.Example.FromString(each)
        for each in serialized_examples(with_context(b"all", 3))
    ]
    assert [set(each.features.feature) for each in merged] == [{"own", "shared"}] * 3


def test_a_large_context_of_many_examples_is_refused_before_it_is_copied() -> None:
    request = with_context(b"x" * 1_000_000, 1500)
    with pytest.raises(ContextTooLargeError, match="too large for 1500 examples"):
        serialized_examples(request)


def test_the_server_answers_such_a_context_with_invalid_argument() -> None:
    request = classification_pb2.ClassificationRequest(input=with_context(b"x" * 1_000_000, 1500))
    with pytest.raises(ServingError) as refused:
        inference.classify(cast(Any, SimpleNamespace(classify=None)), request)
    assert refused.value.code is Code.INVALID_ARGUMENT
