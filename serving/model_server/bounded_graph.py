"""Whether a graph's time follows from the sizes of its inputs: nothing waits, loops are counted.

A run of such a graph that was quick will be quick again for inputs of the same size, so that it may
do without a timeout and a thread of its own, which cost a small model half of its throughput.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

_LOOPS = ("While", "StatelessWhile")
# Ops that wait for other runs, loop without saying so, or call what is not in the graph.
_UNBOUNDED_OPS = re.compile(
    "NextIteration|Dequeue|Enqueue|Barrier|Stage|Iterator|Dataset|Recv|Lock|PyFunc|Scan"
)
# Their outputs are as long as a number in their inputs says.
_AS_LONG_AS_ASKED = ("Range", "RaggedRange", "Fill", "Tile", "BroadcastTo")
_MOST_ROUNDS = 10_000

Nodes = Mapping[str, Any]


def is_bounded(graph_def: Any) -> bool:
    """Looks at a GraphDef with the functions of its library."""
    functions = {function.signature.name: function for function in graph_def.library.function}
    try:
        return all(
            _is_counted(node, nodes, functions)
            if node.op in _LOOPS
            else not _UNBOUNDED_OPS.search(node.op)
            for nodes in map(_by_name, [graph_def.node, *(f.node_def for f in functions.values())])
            for node in nodes.values()
        )
    except (IndexError, KeyError, RecursionError, TypeError, ValueError):
        return False  # A loop of another shape than TensorFlow's own: other programs write some.


def _is_counted(loop: Any, nodes: Nodes, functions: Mapping[str, Any]) -> bool:
    """Whether a loop is one of `tf.while_loop` with `maximum_iterations` (so is `tf.map_fn`).

    TensorFlow puts the counter and the maximum in front of the loop's own variables, and compares
    the two before each round. The maximum must be a constant or the length of a tensor.
    """
    condition, body = (functions[loop.attr[name].func.name] for name in ("cond", "body"))
    counter, maximum = (argument.name for argument in condition.signature.input_arg[:2])
    in_condition, in_body = _by_name(condition.node_def), _by_name(body.node_def)
    result = condition.ret[condition.signature.output_arg[0].name]
    if not _requires(result, [counter, maximum], in_condition):
        return False
    counter, maximum = (argument.name for argument in body.signature.input_arg[:2])
    after = [body.ret[output.name] for output in body.signature.output_arg[:2]]
    step, kept = (_behind_identities(output, in_body) for output in after)
    return (
        kept == maximum
        and _adds_one(in_body.get(_node(step)), counter, in_body)
        and _is_length(nodes.get(_node(_behind_identities(loop.input[1], nodes))), nodes)
    )


def _requires(result: str, compared: list[str], nodes: Nodes) -> bool:
    """Whether `result` is only true while the first of the two is less than the second."""
    node = nodes.get(_node(_behind_identities(result, nodes)))
    if node is None:
        return False
    if node.op == "LogicalAnd":
        return any(_requires(each, compared, nodes) for each in node.input)
    return node.op == "Less" and list(node.input) == compared


def _adds_one(node: Any, counter: str, nodes: Nodes) -> bool:
    if node is None or node.op not in ("Add", "AddV2") or counter not in node.input:
        return False
    other = nodes.get(_node(next((each for each in node.input if each != counter), "")))
    return other is not None and other.op == "Const" and _value(other) == 1


def _is_length(node: Any, nodes: Nodes) -> bool:
    if node is None:
        return False
    if node.op == "Const":
        return 0 <= _value(node) <= _MOST_ROUNDS
    if node.op != "StridedSlice":
        return False
    shape = nodes.get(_node(_behind_identities(node.input[0], nodes)))
    if shape is None or shape.op != "Shape":
        return False
    measured = nodes.get(_node(_behind_identities(shape.input[0], nodes)))
    return measured is None or measured.op not in _AS_LONG_AS_ASKED


def _behind_identities(name: str, nodes: Nodes) -> str:
    node = nodes.get(_node(name))
    if node is None or node.op != "Identity":
        return name
    return _behind_identities(node.input[0], nodes)


def _node(output: str) -> str:
    """The node of an output, which is `node:0` in a graph and `node:name:0` in a function."""
    return output.partition(":")[0]


def _value(constant: Any) -> int:
    value = np.asarray(tf.make_ndarray(constant.attr["value"].tensor))
    return int(value) if value.ndim == 0 else -1


def _by_name(nodes: Iterable[Any]) -> Nodes:
    return {node.name: node for node in nodes}
