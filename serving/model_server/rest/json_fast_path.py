"""Reads the frequent request bodies with orjson; leaves all others to the complete readers.

A function here either returns exactly what its complete counterpart would, or None. It answers
None for whatever orjson and RapidJSON treat differently: a byte order mark, text that is not
UTF-8, deep nesting and text after the document are errors to orjson; names that occur twice are
found by comparing the number of colons with the number of members. NaN and Infinity, errors to
orjson too, are left to Python's reader.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import orjson
from tensorflow.core.example import example_pb2

from serving.model_server.rest.json_base64 import decode_base64
from serving.model_server.rest.json_examples import ExamplesBody
from serving.model_server.rest.json_predict import (
    INTEGER_RANGES,
    InputDtypes,
    PredictBody,
    SignatureInputs,
    tensor_of,
)

# Python's reader turns what is too large for a double into Infinity. Long numbers are looked at
# from their first digit only: from each, it would be minutes.
_MAY_OVERFLOW = re.compile(rb"[eE]\+?[0-9]{3}|(?<![0-9])[0-9]{200}")

_PREDICT_MEMBERS = frozenset({"instances", "inputs", "signature_name"})
_EXAMPLES_MEMBERS = frozenset({"examples", "signature_name"})


class _UnusualError(Exception):
    """This body needs the complete reader."""


def read_predict(body: bytes, signature_inputs: SignatureInputs) -> PredictBody | None:
    """`json_predict.read_predict` for bodies of plain or named values and base64 objects.

    Raises ServingError only if the body is well formed and its signature does not exist.
    """
    try:
        document = _document(body, _PREDICT_MEMBERS)
        name = document.get("signature_name", "")
        row_format = "instances" in document
        if type(name) is not str or row_format == ("inputs" in document):
            return None
        sent = document["instances" if row_format else "inputs"]
        nested_members = _nested_members(body, document, sent)
        dtypes = signature_inputs(name)
        columns = (_row_columns if row_format else _named_or_single)(sent, dtypes)
        strings = len(document) + nested_members + ("signature_name" in document)
        has_numbers = False
        for alias, column in columns.items():
            if dtypes[alias] == "string":
                strings += len(column)
            else:
                has_numbers = True
        if has_numbers:
            _check_numbers(body, strings, dtypes)
        inputs = {alias: _tensor(columns[alias], dtypes[alias]) for alias in columns}
    except (_UnusualError, ValueError, TypeError):
        return None
    return PredictBody(name, row_format, inputs)


def read_examples(body: bytes) -> ExamplesBody | None:
    """`json_examples.read_examples` for bodies without `context`."""
    try:
        document = _document(body, _EXAMPLES_MEMBERS)
        name = document.get("signature_name", "")
        examples = document.get("examples")
        if type(name) is not str or type(examples) is not list or not examples:
            return None
        _nested_members(body, document, examples)
        if b"\\u0000" in body:
            return None
        return ExamplesBody(name, [_example(example, body) for example in examples])
    except (_UnusualError, ValueError):
        return None


def _document(body: bytes, known: frozenset[str]) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        document = _document_with_nan(body)
    if type(document) is not dict or not document.keys() <= known:
        raise _UnusualError
    return document


def _document_with_nan(body: bytes) -> Any:
    if (b"NaN" not in body and b"Infinity" not in body) or _MAY_OVERFLOW.search(body):
        raise _UnusualError
    try:
        return json.loads(body.decode())
    except RecursionError:
        raise _UnusualError from None


def _nested_members(body: bytes, document: dict[str, Any], sent: Any) -> int:
    """How many members the objects below the document have, all of which are where a request may
    hold objects, have no colon in a string, and no name twice."""
    colons = body.count(b":") - len(document)
    if colons and colons != _members(sent):
        raise _UnusualError
    return colons


def _members(sent: Any) -> int:
    count = 0
    for item in sent if type(sent) is list else (sent,):
        if type(item) is dict:
            count += len(item)
            for value in item.values():
                if type(value) is dict:
                    count += len(value)
                elif type(value) is list:
                    count += sum(len(element) for element in value if type(element) is dict)
    return count


def _check_numbers(body: bytes, strings: int, dtypes: InputDtypes) -> None:
    """Refuses what numpy would turn into numbers, or RapidJSON would not.

    These are strings other than the `strings` known ones, booleans, and zeros with an exponent,
    which RapidJSON refuses if that is large.
    """
    if body.count(b'"') != 2 * strings or b"0e" in body or b"0E" in body:
        raise _UnusualError
    if (b"true" in body or b"false" in body) and set(dtypes.values()) != {"bool"}:
        raise _UnusualError


def _is_base64(value: Any) -> bool:
    return type(value) is dict and len(value) == 1 and type(value.get("b64")) is str


def _is_named(value: Any) -> bool:
    return type(value) is dict and not _is_base64(value)


def _row_columns(instances: Any, dtypes: InputDtypes) -> dict[str, list[Any]]:
    if type(instances) is not list or not instances:
        raise _UnusualError
    if not _is_named(instances[0]):
        return _single(instances, dtypes)
    if not dtypes or any(
        type(item) is not dict or item.keys() != dtypes.keys() for item in instances
    ):
        raise _UnusualError
    return {alias: [item[alias] for item in instances] for alias in dtypes}


def _named_or_single(inputs: Any, dtypes: InputDtypes) -> dict[str, Any]:
    if not _is_named(inputs):
        return _single(inputs, dtypes)
    if not dtypes or not dtypes.keys() <= inputs.keys():
        raise _UnusualError
    return {alias: inputs[alias] for alias in dtypes}


def _single(values: Any, dtypes: InputDtypes) -> dict[str, Any]:
    if len(dtypes) != 1:
        raise _UnusualError
    return dict.fromkeys(dtypes, values)


def _tensor(values: Any, dtype: str) -> np.ndarray:
    """The tensor of one input; numpy raises ValueError for ragged lists."""
    if dtype == "string":
        return _strings(values)
    array = np.array(values)
    kind = array.dtype.kind
    if dtype in ("float", "double") and kind in "iuf":
        return tensor_of(dtype, array)
    if dtype == "bool" and kind == "b":
        return array
    if dtype in INTEGER_RANGES and kind in "iu" and array.size:
        low, high = INTEGER_RANGES[dtype]
        if low <= int(array.min()) and int(array.max()) < high:
            return tensor_of(dtype, array)
    raise _UnusualError


def _strings(values: Any) -> np.ndarray:
    if type(values) is not list:
        raise _UnusualError
    return tensor_of("string", [_bytes(value) for value in values])


def _bytes(value: Any) -> bytes:
    if type(value) is str:
        return value.encode()
    if not _is_base64(value):
        raise _UnusualError
    return decode_base64(value["b64"])


def _example(sent: Any, body: bytes) -> bytes:
    if type(sent) is not dict:
        raise _UnusualError
    example = example_pb2.Example()
    for name, content in sent.items():
        values = content if type(content) is list else [content]
        kinds = {type(value) for value in values}
        feature = example.features.feature[name]
        if kinds and kinds <= {str, dict}:
            feature.bytes_list.value.extend([_bytes(value) for value in values])
        elif kinds == {float} and b"0e" not in body and b"0E" not in body:
            feature.float_list.value.extend(values)
        elif kinds == {int} and max(values) < 2**63:
            feature.int64_list.value.extend(values)
        else:
            raise _UnusualError
    return example.SerializeToString()
