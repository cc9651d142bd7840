"""Tensors and results to REST response bodies, white space included.

Source: tensorflow_serving/util/json_tensor.cc, whose writer puts the arrays of an instance on one
line in row format, and every value on a line of its own in column format.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from serving.model_server.errors import invalid_argument
from serving.model_server.rest.json_text import double_texts, float_texts, quote

_INDENT = "    "
_MAX_MESSAGE_CHARACTERS = 1 << 17
_MAX_REMEMBERED_BYTES = 64
_INTEGERS = frozenset(
    map(np.dtype, ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"))
)


def error_json(message: str) -> bytes:
    """The body of every answer that is not OK; a message quotes names of the client's."""
    text = message[:_MAX_MESSAGE_CHARACTERS].encode("utf-8", "surrogateescape")
    return b'{\n    "error": %s\n}' % quote(text)


def predict_json(outputs: Mapping[str, np.ndarray], row_format: bool) -> bytes:
    """`predictions`, one element an instance, in row format; `outputs` otherwise.

    A single output stands bare, several are objects by alias. Raises INVALID_ARGUMENT if an output
    has no batch dimension (row format), batch sizes differ, or a dtype has no JSON form.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    text = _row_format(outputs) if row_format else _column_format(outputs)
    return text.encode("utf-8", "surrogateescape")


def classification_json(classes: np.ndarray | None, scores: np.ndarray | None) -> bytes:
    """Pairs of label and score for every example; `classes` and `scores` are [N, n].

    Without classes the labels are empty, without scores the scores are 0.
    """
    some = scores if scores is not None else classes
    assert some is not None
    labels = ['""'] * some.size if classes is None else _texts(classes, "", 0)
    numbers = ["0.0"] * some.size if scores is None else _texts(scores, "", 0)
    pairs = [f"[{label}, {number}]" for label, number in zip(labels, numbers, strict=True)]
    results = ", ".join(_one_line(pairs, some.shape))
    return f'{{\n    "results": [{results}\n    ]\n}}'.encode("utf-8", "surrogateescape")


def regression_json(values: np.ndarray) -> bytes:
    """One number for every example; `values` is float32 [N]."""
    return f'{{\n    "results": [{", ".join(float_texts(values.tolist()))}]\n}}'.encode()


def _row_format(outputs: Mapping[str, np.ndarray]) -> str:
    batch = _batch_size(outputs)
    if not batch:
        return '{\n    "predictions": []\n}'
    if len(outputs) == 1:
        ((alias, array),) = outputs.items()
        rows = ", ".join(_one_line(_texts(array, alias, array.ndim + 1), array.shape))
        return f'{{\n    "predictions": [{rows}\n    ]\n}}'
    columns = [
        [
            f"\n            {_name(alias)}: {row}"
            for row in _one_line(_texts(array, alias, array.ndim + 2), array.shape)
        ]
        for alias, array in outputs.items()
    ]
    instances = ",".join(
        f"\n        {{{','.join(members)}\n        }}" for members in zip(*columns, strict=True)
    )
    return f'{{\n    "predictions": [{instances}\n    ]\n}}'


def _batch_size(outputs: Mapping[str, np.ndarray]) -> int:
    batch = -1
    for alias, array in outputs.items():
        if not array.shape:
            raise invalid_argument(f"Tensor name: {alias} has no shape information ")
        if batch >= 0 and batch != array.shape[0]:
            raise invalid_argument(
                f"Tensor name: {alias} has inconsistent batch size: {array.shape[0]} "
                f"expecting: {batch}"
            )
        batch = array.shape[0]
    return batch


def _one_line(texts: list[str], shape: tuple[int, ...]) -> list[str]:
    """The values of a tensor put into arrays, one text for each element of its first dimension."""
    for axis in range(len(shape) - 1, 0, -1):
        size = shape[axis]
        texts = [
            f"[{', '.join(texts[number * size : (number + 1) * size])}]"
            for number in range(math.prod(shape[:axis]))
        ]
    return texts


def _column_format(outputs: Mapping[str, np.ndarray]) -> str:
    if len(outputs) == 1:
        ((alias, array),) = outputs.items()
        return f'{{\n    "outputs": {_lines(alias, array, 1)}\n}}'
    members = ",".join(
        f"\n        {_name(alias)}: {_lines(alias, array, 2)}" for alias, array in outputs.items()
    )
    return f'{{\n    "outputs": {{{members}\n    }}\n}}'


def _lines(alias: str, array: np.ndarray, depth: int) -> str:
    """A tensor, each value on its own line, inside `depth` levels of nesting."""
    texts = _texts(array, alias, depth + array.ndim)
    for axis in range(array.ndim - 1, -1, -1):
        size = array.shape[axis]
        outer, inner = "\n" + _INDENT * (depth + axis), "\n" + _INDENT * (depth + axis + 1)
        texts = [
            f"[{inner}{f',{inner}'.join(texts[number * size : (number + 1) * size])}{outer}]"
            if size
            else "[]"
            for number in range(math.prod(array.shape[:axis]))
        ]
    return texts[0]


def _name(alias: str) -> str:
    return _string(alias.encode("utf-8", "surrogateescape"))


def _string(value: bytes) -> str:
    return _quoted(value) if len(value) > _MAX_REMEMBERED_BYTES else _remembered(value)


def _quoted(value: bytes) -> str:
    return quote(value).decode("utf-8", "surrogateescape")


# Labels and aliases come again with every answer.
_remembered = lru_cache(maxsize=4096)(_quoted)


def _texts(array: np.ndarray, alias: str, depth: int) -> list[str]:
    """The JSON text of every value, in order; `depth` is how many levels enclose them."""
    values = array.ravel().tolist()
    dtype = array.dtype
    if dtype == np.float32:
        return float_texts(values)
    if dtype == np.float64:
        return double_texts(values)
    if dtype in _INTEGERS:
        return list(map(str, values))
    if dtype == np.bool_:
        return ["true" if value else "false" for value in values]
    if dtype == np.object_:
        if alias.endswith("_bytes"):
            outer, inner = "\n" + _INDENT * depth, "\n" + _INDENT * (depth + 1)
            return [f'{{{inner}"b64": "{_base64(value)}"{outer}}}' for value in values]
        return [_string(value) for value in values]
    name = "half" if dtype == np.float16 else dtype.name
    raise invalid_argument(f"Failed to write JSON value for tensor type: {name}")


def _base64(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()
