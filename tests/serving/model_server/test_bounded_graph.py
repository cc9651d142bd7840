"""Which graphs take a time that follows from the sizes of their inputs."""

from collections.abc import Callable

import pytest
import tensorflow as tf

from pipeline.modeling.features import ImageFormat
from pipeline.modeling.preprocessing import decode_images
from serving.model_server.bounded_graph import is_bounded

Function = Callable[[tf.Tensor], tf.Tensor]

VECTOR = tf.TensorSpec([None], tf.int32)
STRINGS = tf.TensorSpec([None], tf.string)


def bounded(function: Function, spec: tf.TensorSpec = VECTOR) -> bool:
    concrete = tf.function(function, input_signature=[spec]).get_concrete_function()
    return is_bounded(concrete.graph.as_graph_def())


def called(function: Function) -> Function:
    """The function in a function, as a SavedModel has its signatures."""
    inner = tf.function(function)
    return lambda x: inner(x) + 0


def while_positive(x: tf.Tensor, **how: object) -> tf.Tensor:
    return tf.while_loop(lambda value: value[0] > 0, lambda value: (value - 1,), (x,), **how)[0]


def counting_by(step: int) -> Function:
    def count(x: tf.Tensor) -> tf.Tensor:
        size = tf.shape(x)[0]
        return tf.while_loop(
            lambda number, limit: number < limit,
            lambda number, limit: (number + step, limit),
            (0, size),
        )[0]

    return count


@pytest.mark.parametrize("wrap", [lambda function: function, called])
@pytest.mark.parametrize(
    "function",
    [
        lambda x: x * 2,
        lambda x: tf.map_fn(lambda value: value * 2, x),
        lambda x: tf.map_fn(lambda value: tf.map_fn(lambda y: y * 2, value[None])[0], x),
        lambda x: while_positive(x, maximum_iterations=100),
    ],
    ids=["no loop", "map", "map in map", "at most a hundred rounds"],
)
def test_a_counted_loop_is_as_long_as_its_input(wrap: Callable, function: Function) -> None:
    assert bounded(wrap(function))


@pytest.mark.parametrize("wrap", [lambda function: function, called])
@pytest.mark.parametrize(
    "function",
    [
        while_positive,
        lambda x: while_positive(x, maximum_iterations=x[0]),
        lambda x: while_positive(x, maximum_iterations=2**31 - 1),
        lambda x: tf.map_fn(lambda value: value * 2, tf.range(x[0])),
        lambda x: tf.map_fn(while_positive, x[:, None]),
        counting_by(0),
        lambda x: tf.scan(lambda total, value: total + value, tf.range(x[0])),
    ],
    ids=[
        "as long as a number is positive",
        "as many rounds as a number says",
        "very many rounds",
        "a map over a range",
        "in a map",
        "a counter that stands",
        "a scan over a range",
    ],
)
def test_a_loop_that_depends_on_values_may_be_endless(wrap: Callable, function: Function) -> None:
    assert not bounded(wrap(function))


def test_a_graph_that_waits_for_others_may_be_endless() -> None:
    def from_queue(x: tf.Tensor) -> tf.Tensor:
        queue = tf.queue.FIFOQueue(1, [tf.int32], [[]])
        return x + queue.dequeue()

    assert not bounded(from_queue)


def test_reading_pictures_takes_as_long_as_their_bytes() -> None:
    assert bounded(lambda encoded: decode_images(encoded, ImageFormat()), STRINGS)


@pytest.mark.parametrize("damage", ["no function", "one argument", "identities in a circle"])
def test_a_loop_that_tensorflow_would_not_write_may_be_endless(damage: str) -> None:
    doubled = tf.function(lambda x: tf.map_fn(lambda value: value * 2, x), input_signature=[VECTOR])
    graph = doubled.get_concrete_function().graph.as_graph_def()
    assert is_bounded(graph)
    [loop] = [node for node in graph.node if node.op in ("While", "StatelessWhile")]
    if damage == "no function":
        del graph.library.function[:]
    elif damage == "one argument":
        for function in graph.library.function:
            del function.signature.input_arg[1:]
    else:
        graph.node.add(name="circle", op="Identity", input=["circle"])
        loop.input[1] = "circle"
    assert not is_bounded(graph)
