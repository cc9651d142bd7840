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
from dataclasses import dataclass
from decimal import Decimal
from typing import NoReturn, TypeAlias

from serving.model_server import deadline
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


@dataclass(frozen=True, eq=False, slots=True)
class _State:
    """What was read last: what may follow, and the error if something else does."""

    error: str
    takes_value: bool = False
    takes_name: bool = False
    separator: bytes = b""
    closed_by: bytes = b""


_START = _State("The document is empty.", takes_value=True)
_OBJECT_START = _State("Missing a name for object member.", takes_name=True, closed_by=b"}")
_MEMBER_NAME = _State("Missing a colon after a name of object member.", separator=b":")
_COLON = _State("Invalid value.", takes_value=True)
_MEMBER_VALUE = _State(
    "Missing a comma or '}' after an object member.", separator=b",", closed_by=b"}"
)
_MEMBER_COMMA = _State("Missing a name for object member.", takes_name=True)
_ARRAY_START = _State("Invalid value.", takes_value=True, closed_by=b"]")
_ELEMENT = _State("Missing a comma or ']' after an array element.", separator=b",", closed_by=b"]")
_ELEMENT_COMMA = _State("Invalid value.", takes_value=True)
_END = _State("")
_AFTER_SEPARATOR = {_MEMBER_NAME: _COLON, _MEMBER_VALUE: _MEMBER_COMMA, _ELEMENT: _ELEMENT_COMMA}

_NO_VALUE = b"]},:\0"
_WHITE_SPACE = re.compile(rb"[ \n\r\t]*")
_LAST_WHITE_SPACE = ord(" ")
_QUOTE = ord('"')
_BACKSLASH = ord("\\")
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
_STEPS_BETWEEN_LOOKS_AT_THE_CLOCK = 4096


def parse(body: bytes) -> JsonObject:
    """The object that `body` holds.

    Raises ServingError: INVALID_ARGUMENT if the body is not JSON or not an object,
    DEADLINE_EXCEEDED if reading goes on past the deadline of the call.
    """
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
        self._steps = 0
        self._state = _START
        self._document: JsonValue = None
        # Containers are filled while they lie here, the innermost on top.
        self._containers: list[JsonObject | list[JsonValue]] = []
        self._name = b""
        for byte in b"\xef\xbb\xbf":  # each byte of the mark is optional for RapidJSON
            if self._text[self._at] == byte:
                self._at += 1

    def read(self) -> JsonValue:
        """The first value of the text."""
        while self._state is not _END:
            self._step()
            self._token()
        return self._document

    def _step(self) -> None:
        self._steps += 1
        if not self._steps % _STEPS_BETWEEN_LOOKS_AT_THE_CLOCK:
            deadline.check()

    def _token(self) -> None:
        text, state = self._text, self._state
        if text[self._at] <= _LAST_WHITE_SPACE:
            self._at = _WHITE_SPACE.match(text, self._at).end()  # type: ignore[union-attr]
        char = text[self._at : self._at + 1]
        if state.takes_value and char not in _NO_VALUE:
            self._value(char)
        elif state.takes_name and char == b'"':
            self._name = self._string()
            self._state = _MEMBER_NAME
        elif char == state.separator:
            self._at += 1
            self._state = _AFTER_SEPARATOR[state]
        elif char == state.closed_by:
            self._at += 1
            self._containers.pop()
            self._state = self._after_value()
        else:
            _fail(state.error, self._at)

    def _value(self, char: bytes) -> None:
        if char == b"{":
            self._open(JsonObject(), _OBJECT_START)
        elif char == b"[":
            self._open([], _ARRAY_START)
        else:
            self._attach(self._scalar(char))
            self._state = self._after_value()

    def _open(self, container: JsonObject | list[JsonValue], state: _State) -> None:
        self._at += 1
        self._attach(container)
        self._containers.append(container)
        self._state = state

    def _attach(self, value: JsonValue) -> None:
        if not self._containers:
            self._document = value
            return
        container = self._containers[-1]
        if isinstance(container, JsonObject):
            container.members.append((self._name, value))
        else:
            container.append(value)

    def _after_value(self) -> _State:
        if not self._containers:
            return _END
        return _MEMBER_VALUE if isinstance(self._containers[-1], JsonObject) else _ELEMENT

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
                _fail("Invalid value.", self._at)
            self._at += 1

    def _string(self) -> bytes:
        self._at += 1
        text = self._plain_text()
        if self._text[self._at] == _QUOTE:
            self._at += 1
            return text
        unescaped = bytearray(text)
        while (byte := self._text[self._at]) != _QUOTE:
            if byte == 0:
                _fail("Missing a closing quotation mark in string.", self._at)
            if byte != _BACKSLASH:
                _fail("Invalid escape character in string.", self._at)
            self._step()
            unescaped += self._escape()
            unescaped += self._plain_text()
        self._at += 1
        return bytes(unescaped)

    def _plain_text(self) -> bytes:
        plain = _PLAIN_TEXT.match(self._text, self._at)
        assert plain is not None
        self._at = plain.end()
        return plain.group()

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
_DEBUG_TEXT_BYTES = 1 << 16
"""What is shown of one string; RapidJSON shows all of it."""


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
            self._put(separator + b"    " * self._depth + _shown(name))
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


def _shown(text: bytes) -> bytes:
    return quote(text[:_DEBUG_TEXT_BYTES])


def _scalar_text(value: bytes | float | int | bool | None) -> bytes:
    if value is None:
        return b"null"
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, bytes):
        return _shown(value)
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
