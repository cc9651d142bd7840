"""Base64 with absl's tolerance."""

import base64

import pytest

from serving.model_server.rest.json_base64 import decode_base64


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("", b""),
        ("YQ==", b"a"),
        ("YQ", b"a"),
        ("YQ..", b"a"),
        ("YWI=", b"ab"),
        ("YWI", b"ab"),
        (" Y W\nI\t=\r", b"ab"),
        ("YWJj", b"abc"),
        (b"+/+/", b"\xfb\xff\xbf"),
    ],
)
def test_white_space_dots_and_missing_padding_are_taken(text: str | bytes, decoded: bytes) -> None:
    assert decode_base64(text) == decoded


@pytest.mark.parametrize(
    "text",
    ["!", "Y", "YQ=", "YQ===", "YWI==", "YWJj=", "YWJj====", "====", "YQ==YQ==", "-_-_", "é"],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode_base64(text)


def test_what_python_encodes_is_decoded() -> None:
    for size in range(100):
        data = bytes(range(size))
        assert decode_base64(base64.b64encode(data)) == data
