"""JSON strings and numbers, byte for byte as TensorFlow Serving writes them.

Strings follow RapidJSON's writer: bytes that are not UTF-8 pass unchanged. Floats follow
WriteDecimal in tensorflow_serving/util/json_tensor.cc: six significant digits if they read back as
the same value, else nine (float) or seventeen (double), always with a point or an exponent.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Sequence

_SPECIAL = re.compile(rb'["\\\x00-\x1f]')
_SHORT_ESCAPES = {
    b'"': rb"\"",
    b"\\": rb"\\",
    b"\b": rb"\b",
    b"\f": rb"\f",
    b"\n": rb"\n",
    b"\r": rb"\r",
    b"\t": rb"\t",
}


def quote(text: bytes) -> bytes:
    """`text` as a JSON string, quotation marks included."""
    return b'"' + _SPECIAL.sub(_escape, text) + b'"'


def _escape(match: re.Match[bytes]) -> bytes:
    char = match.group()
    return _SHORT_ESCAPES.get(char) or b"\\u%04X" % char[0]


def float_texts(values: Sequence[float]) -> list[str]:
    """The JSON texts of float32 `values` (given as Python floats)."""
    short = [f"{value:g}" for value in values]
    read_back = array("f", map(float, short)).tolist()
    return [
        _with_point(text if same == value else f"{value:.9g}", value)
        for text, same, value in zip(short, read_back, values, strict=True)
    ]


def double_texts(values: Sequence[float]) -> list[str]:
    """The JSON texts of float64 `values`."""
    return [
        _with_point(text if float(text) == value else f"{value:.17g}", value)
        for text, value in ((f"{value:g}", value) for value in values)
    ]


def _with_point(text: str, value: float) -> str:
    if "." in text or "e" in text:
        return text
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return text + ".0"
