"""Reads JSON as TensorFlow Serving does: RapidJSON 1.1.0, iteratively, NaN and Infinity allowed.

It differs from Python's and orjson's readers in what a client can see: the error texts with their
offsets, names that occur twice (both are kept, look-ups find the first), strings that are bytes and
need not be UTF-8, bare NaN and Infinity, text after the document (ignored), any depth of nesting.
Source: rapidjson/reader.h and tensorflow_serving/util/json_tensor.cc (ParseJson).
"""

from __future__ import annotations

import contextlib
import math
import re
from decimal import Decimal
from enum import Enum, auto
from typing import NoReturn, TypeAlias

from serving.model_server.errors import invalid_argument
from serving.model_server.rest.json_text import quote

JsonValue: TypeAlias = "JsonObject | list[JsonValue] | bytes | float | int | bool | None"


class JsonObject:
    """An object's members in the order they were sent, names that occur twice included."""

    __slots__ = ("members",)

    def __init__(self) -> None:
        self.members: list[tuple[bytes, JsonValue]] = []

    def __contains__(self, name: bytes) -> bool:
        return any(key == name for key, _ in self.members)

    def __getitem__(self, name: bytes) -> JsonValue:
        """The first member called `name`; raises KeyError if there is none."""
        for key, value in self.members:
            if key == name:
                return value
        raise KeyError(name)


class _State(Enum):
    """What was read last, which decides what may follow and which error is reported if not."""

    START = auto()
    OBJECT_START = auto()
    MEMBER_NAME = auto()
    COLON = auto()
    MEMBER_VALUE = auto()
    MEMBER_COMMA = auto()
    ARRAY_START = auto()
    ELEMENT = auto()
    ELEMENT_COMMA = auto()


_VALUE_INVALID = "Invalid value."
_STATE_ERRORS = {
    _State.START: "The document is empty.",
    _State.OBJECT_START: "Missing a name for object member.",
    _State.MEMBER_NAME: "Missing a colon after a name of object member.",
    _State.COLON: _VALUE_INVALID,
    _State.MEMBER_VALUE: "Missing a comma or '}' after an object member.",
    _State.MEMBER_COMMA: "Missing a name for object member.",
    _State.ARRAY_START: _VALUE_INVALID,
    _State.ELEMENT: "Missing a comma or ']' after an array element.",
    _State.ELEMENT_COMMA: _VALUE_INVALID,
}
_VALUE_MAY_FOLLOW = {_State.START, _State.COLON, _State.ARRAY_START, _State.ELEMENT_COMMA}
_NAME_MAY_FOLLOW = {_State.OBJECT_START, _State.MEMBER_COMMA}

_WHITE_SPACE = re.compile(rb"[ \n\r\t]*")
_LAST_WHITE_SPACE = ord(" ")
_PLAIN_TEXT = re.compile(rb'[^"\\\x00-\x1f]*')
_HEX4 = re.compile(rb"[0-9A-Fa-f]{4}")
_NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_EXPONENT_WITHOUT_DIGITS = re.compile(rb"[eE][+-]?")
_LITERALS = {b"n": (b"null", None), b"t": (b"true", True), b"f": (b"false", False)}
_ESCAPES = {
    b'"': b'"',
    b"/": b"/",
    b"\\": b"\\",
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
}
_MOST_INTEGER_DIGITS = 20
_LARGEST_BEFORE_ANOTHER_DIGIT = 1.7976931348623157e307


def parse(body: bytes) -> JsonObject:
    """The object that `body` holds; raises INVALID_ARGUMENT if it is no JSON or no object."""
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    document = _Reader(body).read()
    if not isinstance(document, JsonObject):
        raise invalid_argument(f"JSON Value: {debug_string(document)} Is not object")
    return document


def _fail(error: str, offset: int) -> NoReturn:
    raise invalid_argument(f"JSON Parse error: {error} at offset: {offset}")


class _Reader:
    """One pass over a body. A NUL byte ends the text, as it does for RapidJSON."""

    def __init__(self, body: bytes) -> None:
        self._text = body + b"\0"
        self._at = 0
        for byte in b"\xef\xbb\xbf":  # each byte of the mark is optional for RapidJSON
            if self._text[self._at] == byte:
                self._at += 1

    def read(self) -> JsonValue:
        """The first value of the text; containers are filled while they lie on a stack."""
        text = self._text
        containers: list[JsonObject | list[JsonValue]] = []
        name = b""
        state = _State.START
        while True:
            if text[self._at] <= _LAST_WHITE_SPACE:
                self._at = _WHITE_SPACE.match(text, self._at).end()  # type: ignore[union-attr]
            at = self._at
            char = text[at : at + 1]
            if state in _VALUE_MAY_FOLLOW and char not in b"]},:\0":
                value: JsonValue = (
                    JsonObject() if char == b"{" else [] if char == b"[" else self._scalar(char)
                )
                if containers:
                    state = _attach(value, name, containers[-1])
                elif char not in b"{[":
                    return value
                if isinstance(value, JsonObject | list):
                    containers.append(value)
                    self._at += 1
                    state = _State.OBJECT_START if char == b"{" else _State.ARRAY_START
            elif char == b'"' and state in _NAME_MAY_FOLLOW:
                name = self._string()
                state = _State.MEMBER_NAME
            elif char == b":" and state is _State.MEMBER_NAME:
                self._at += 1
                state = _State.COLON
            elif char == b"," and state in (_State.MEMBER_VALUE, _State.ELEMENT):
                self._at += 1
                state = (
                    _State.MEMBER_COMMA if state is _State.MEMBER_VALUE else _State.ELEMENT_COMMA
                )
            elif _closes(char, state):
                self._at += 1
                closed = containers.pop()
                if not containers:
                    return closed
                state = (
                    _State.MEMBER_VALUE
                    if isinstance(containers[-1], JsonObject)
                    else _State.ELEMENT
                )
            else:
                _fail(_STATE_ERRORS[state], at)

    def _scalar(self, char: bytes) -> bytes | float | int | bool | None:
        if char == b'"':
            return self._string()
        if char in _LITERALS:
            word, value = _LITERALS[char]
            self._literal(word)
            return value
        return self._number()

    def _literal(self, word: bytes) -> None:
        for byte in word:
            if self._text[self._at] != byte:
                _fail(_VALUE_INVALID, self._at)
            self._at += 1

    def _string(self) -> bytes:
        self._at += 1
        parts: list[bytes] = []
        while True:
            plain = _PLAIN_TEXT.match(self._text, self._at)
            parts.append(plain.group())  # type: ignore[union-attr]
            self._at = at = plain.end()  # type: ignore[union-attr]
            char = self._text[at : at + 1]
            if char == b'"':
                self._at += 1
                return parts[0] if len(parts) == 1 else b"".join(parts)
            if char != b"\\":
                missing = char == b"\0"
                _fail(
                    "Missing a closing quotation mark in string."
                    if missing
                    else "Invalid escape character in string.",
                    at,
                )
            parts.append(self._escape())

    def _escape(self) -> bytes:
        start = self._at
        char = self._text[start + 1 : start + 2]
        if char in _ESCAPES:
            self._at += 2
            return _ESCAPES[char]
        if char != b"u":
            _fail("Invalid escape character in string.", start)
        code_point = self._hex4(start + 2, start)
        if 0xD800 <= code_point <= 0xDBFF:
            if self._text[self._at : self._at + 2] != b"\\u":
                _fail("The surrogate pair in string is invalid.", start)
            low = self._hex4(self._at + 2, start)
            if not 0xDC00 <= low <= 0xDFFF:
                _fail("The surrogate pair in string is invalid.", start)
            code_point = (((code_point - 0xD800) << 10) | (low - 0xDC00)) + 0x10000
        return chr(code_point).encode("utf-8", "surrogatepass")

    def _hex4(self, at: int, escape: int) -> int:
        digits = _HEX4.match(self._text, at)
        if digits is None:
            _fail("Incorrect hex digit after \\u escape in string.", escape)
        self._at = at + 4
        return int(digits.group(), 16)

    def _number(self) -> float | int:
        start = self._at
        number = _NUMBER.match(self._text, start)
        if number is None:
            return self._not_a_number()
        self._at = end = number.end()
        whole, fraction, exponent = number.groups()
        if exponent is None:
            if fraction is None and self._text[end : end + 1] == b".":
                _fail("Miss fraction part in number.", end + 1)
            without_digits = _EXPONENT_WITHOUT_DIGITS.match(self._text, end)
            if without_digits is not None:
                _fail("Miss exponent in number.", without_digits.end())
        digits = number.group()
        if fraction is None and exponent is None and len(whole) <= _MOST_INTEGER_DIGITS:
            integer = int(digits)
            if -(2**63) <= integer < 2**64:
                return integer
        if _too_big(whole, fraction, exponent):
            _fail("Number too big to be stored in double.", start)
        return float(digits)

    def _not_a_number(self) -> float:
        negative = self._text[self._at : self._at + 1] == b"-"
        self._at += negative
        if self._text[self._at : self._at + 1] == b"N":
            self._literal(b"NaN")
            return math.nan
        self._literal(b"Inf")
        if self._text[self._at : self._at + 1] == b"i":
            self._literal(b"inity")
        return -math.inf if negative else math.inf


def _closes(char: bytes, state: _State) -> bool:
    if char == b"}":
        return state in (_State.OBJECT_START, _State.MEMBER_VALUE)
    return char == b"]" and state in (_State.ARRAY_START, _State.ELEMENT)


def _attach(value: JsonValue, name: bytes, container: JsonObject | list[JsonValue]) -> _State:
    if isinstance(container, JsonObject):
        container.members.append((name, value))
        return _State.MEMBER_VALUE
    container.append(value)
    return _State.ELEMENT


def _too_big(whole: bytes, fraction: bytes | None, exponent: bytes | None) -> bool:
    """RapidJSON's two guards against overflow; other overflows it lets become Infinity."""
    if len(whole) > 300 and float(whole[:-1]) >= _LARGEST_BEFORE_ANOTHER_DIGIT:
        return True
    if exponent is None or b"-" in exponent:
        return False
    digits = exponent[1:].lstrip(b"+0")
    fraction_digits = len(fraction) - 1 if fraction else 0
    return len(digits) > 9 or int(digits or b"0") > 308 + fraction_digits


def type_name(value: JsonValue) -> str:
    """RapidJSON's name of a value's type, as error texts print it."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "True" if value else "False"
    if isinstance(value, bytes):
        return "String"
    if isinstance(value, list):
        return "Array"
    return "Object" if isinstance(value, JsonObject) else "Number"


class _FullError(Exception):
    """The debug string has reached its size, or holds a value that RapidJSON does not write."""


_DEBUG_STRING_BYTES = 256


def debug_string(value: JsonValue) -> str:
    """`value` pretty-printed for an error text, ending after the token that passes 256 bytes."""
    printer = _DebugPrinter()
    with contextlib.suppress(_FullError):
        printer.value(value)
    return b"".join(printer.parts).decode("utf-8", "surrogateescape")


class _DebugPrinter:
    """RapidJSON's PrettyWriter with arrays on one line; every level of nesting adds a byte."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self._size = 0
        self._depth = 0

    def value(self, value: JsonValue, prefix: bytes = b"") -> None:
        """Writes `prefix` and `value`; raises _FullError where RapidJSON's writer stops."""
        if isinstance(value, JsonObject):
            self._object(value, prefix)
        elif isinstance(value, list):
            self._array(value, prefix)
        elif isinstance(value, float) and not math.isfinite(value):
            self._put(prefix)
            raise _FullError
        else:
            self._put(prefix + _scalar_text(value))

    def _object(self, value: JsonObject, prefix: bytes) -> None:
        self._put(prefix + b"{")
        self._depth += 1
        separator = b"\n"
        for name, member in value.members:
            self._put(separator + b"    " * self._depth + quote(name))
            self.value(member, b": ")
            separator = b",\n"
        self._depth -= 1
        self._put((b"\n" + b"    " * self._depth if value.members else b"") + b"}")

    def _array(self, value: list[JsonValue], prefix: bytes) -> None:
        self._put(prefix + b"[")
        self._depth += 1
        separator = b""
        for element in value:
            self.value(element, separator)
            separator = b", "
        self._depth -= 1
        self._put(b"]")

    def _put(self, token: bytes) -> None:
        if self._size >= _DEBUG_STRING_BYTES:
            raise _FullError
        self.parts.append(token)
        self._size += len(token)


def _scalar_text(value: bytes | float | int | bool | None) -> bytes:
    if value is None:
        return b"null"
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, bytes):
        return quote(value)
    return str(value).encode() if isinstance(value, int) else _double_text(value)


def _double_text(value: float) -> bytes:
    """A finite double in RapidJSON's own notation (internal/dtoa.h, Prettify)."""
    sign, digit_tuple, shift = Decimal(repr(value)).as_tuple()
    digits = "".join(map(str, digit_tuple)).lstrip("0")
    shift = int(shift) + len(digits) - len(digits.rstrip("0"))
    digits = digits.rstrip("0")
    point = len(digits) + shift
    if not digits:
        text = "0.0"
    elif shift >= 0 and point <= 21:
        text = f"{digits}{'0' * shift}.0"
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
        text = f"{mantissa}e{point - 1}"
    return ("-" + text if sign else text).encode()
