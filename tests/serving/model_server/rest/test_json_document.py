"""Reading JSON as RapidJSON does: values, error texts with offsets, debug strings."""

import contextlib
import math

import pytest

from serving.model_server.errors import Code, ServingError
from serving.model_server.rest.json_document import JsonObject, debug_string, parse, type_name


def value_of(text: bytes) -> object:
    return parse(b'{"v":' + text + b"}")[b"v"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"0", 0),
        (b"-0", 0),
        (b"18446744073709551615", 2**64 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"18446744073709551616", 2.0**64),
        (b"-9223372036854775809", -(2.0**63)),
        (b"1.0", 1.0),
        (b"-1.5e2", -150.0),
        (b"1E+2", 100.0),
        (b"123e308", math.inf),
        (b"1e-400", 0.0),
        (b"Infinity", math.inf),
        (b"Inf", math.inf),
        (b"-Infinity", -math.inf),
        (b"true", True),
        (b"false", False),
        (b"null", None),
        (b'"a\\n\\u00e9\\ud83d\\ude00\\/"', "a\né😀/".encode()),
        (b'"\\udc00"', b"\xed\xb0\x80"),
        (b'"\xff"', b"\xff"),
        (b'"\\u0000"', b"\0"),
        (b"[]", []),
        (b"[1, [2.5], []]", [1, [2.5], []]),
    ],
)
def test_values_are_read_with_their_type(text: bytes, value: object) -> None:
    read = value_of(text)
    assert read == value
    assert type(read) is type(value)


def test_a_long_string_in_an_error_text_is_cut() -> None:
    assert len(debug_string(b"x" * (1 << 20))) == (1 << 16) + 2


@pytest.mark.parametrize("text", [b"9" * (1 << 20), b"0." + b"9" * (1 << 20)])
def test_numbers_of_any_length_are_read_or_refused_at_once(text: bytes) -> None:
    with contextlib.suppress(ServingError):
        value_of(text)


def test_nan_is_read_bare_and_signed() -> None:
    read = value_of(b"[NaN, -NaN]")
    assert isinstance(read, list)
    assert all(isinstance(element, float) and math.isnan(element) for element in read)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "The document is empty"),
        (b"  ", "The document is empty. at offset: 2"),
        (b"\0{}", "The document is empty. at offset: 0"),
        (b"]", "The document is empty. at offset: 0"),
        (b"{", "Missing a name for object member. at offset: 1"),
        (b"{1:2}", "Missing a name for object member. at offset: 1"),
        (b'{"a":1,}', "Missing a name for object member. at offset: 7"),
        (b'{"a"', "Missing a colon after a name of object member. at offset: 4"),
        (b'{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        (b'{"a":', "Invalid value. at offset: 5"),
        (b'{"a":x}', "Invalid value. at offset: 5"),
        (b'{"a":nul}', "Invalid value. at offset: 8"),
        (b'{"a":Nan}', "Invalid value. at offset: 7"),
        (b'{"a":-}', "Invalid value. at offset: 6"),
        (b'{"a":[1,]}', "Invalid value. at offset: 8"),
        (b'{"a":1', "Missing a comma or '}' after an object member. at offset: 6"),
        (b'{"a":01}', "Missing a comma or '}' after an object member. at offset: 6"),
        (b'{"a":[1 2]}', "Missing a comma or ']' after an array element. at offset: 8"),
        (b'{"a":[1}', "Missing a comma or ']' after an array element. at offset: 7"),
        (b'{"a":1.}', "Miss fraction part in number. at offset: 7"),
        (b'{"a":1e+}', "Miss exponent in number. at offset: 8"),
        (b'{"a":1e309}', "Number too big to be stored in double. at offset: 5"),
        (b'{"a":1' + b"0" * 400 + b"}", "Number too big to be stored in double. at offset: 5"),
        (b'{"a":"b', "Missing a closing quotation mark in string. at offset: 7"),
        (b'{"a":"\n"}', "Invalid escape character in string. at offset: 6"),
        (b'{"a":"b\\x"}', "Invalid escape character in string. at offset: 7"),
        (b'{"a":"\\u12"}', "Incorrect hex digit after \\u escape in string. at offset: 6"),
        (b'{"a":"\\ud800x"}', "The surrogate pair in string is invalid. at offset: 6"),
    ],
)
def test_malformed_bodies_are_refused_with_reason_and_offset(body: bytes, error: str) -> None:
    with pytest.raises(ServingError) as refused:
        parse(body)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert refused.value.message == f"JSON Parse error: {error}"


@pytest.mark.parametrize("body", [b"[1, 2]", b"1", b'"text"', b"null"])
def test_a_document_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(ServingError, match="Is not object"):
        parse(body)


def test_what_follows_the_document_is_ignored() -> None:
    assert parse(b'{"a": 1} and more')[b"a"] == 1


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse(b'\xef\xbb\xbf{"a": 1}')[b"a"] == 1


def test_of_a_name_that_occurs_twice_the_first_is_found() -> None:
    document = parse(b'{"a": 1, "a": 2}')
    assert document[b"a"] == 1
    assert len(document.members) == 2


def test_any_depth_of_nesting_is_read() -> None:
    depth = 100_000
    document = parse(b'{"a":' + b"[" * depth + b"]" * depth + b"}")
    assert debug_string(document) == '{\n    "a": ' + "[" * 245


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        (b"1.0", "1.0"),
        (b"-0.0", "-0.0"),
        (b"0.1", "0.1"),
        (b"1e21", "1e21"),
        (b"1e20", "100000000000000000000.0"),
        (b"1.5e30", "1.5e30"),
        (b"123456.789", "123456.789"),
        (b"0.000001", "0.000001"),
        (b"0.0000001", "1e-7"),
        (b"1.25e-7", "1.25e-7"),
        (b"5e-324", "5e-324"),
        (b'"q\\"\\u001f\xc3\xa9"', '"q\\"\\u001Fé"'),
        (
            b'{"a":[1,{"b":[]}],"c":{}}',
            '{\n    "a": [1, {\n            "b": []\n        }],\n    "c": {}\n}',
        ),
        (b"[1, NaN, 2]", "[1, "),
    ],
)
def test_debug_strings_are_pretty_printed(text: bytes, printed: str) -> None:
    value = parse(b'{"v":' + text + b"}").members[0][1]
    assert debug_string(value) == printed


def test_debug_strings_end_after_256_bytes() -> None:
    value = value_of(b"[" + b"1," * 1000 + b"1]")
    assert isinstance(value, list)
    assert debug_string(value) == "[" + "1, " * 85 + "1"


def test_types_have_rapidjsons_names() -> None:
    values = value_of(b'[null, true, false, 1, 1.5, "s", [], {}]')
    assert isinstance(values, list)
    names = [type_name(value) for value in values]
    assert names == ["Null", "True", "False", "Number", "Number", "String", "Array", "Object"]


def test_a_missing_member_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        JsonObject()[b"a"]
