"""Base64 as `absl::Base64Unescape` reads it.

It skips white space, takes `.` for `=`, and accepts text without padding or with exactly the
padding that its length asks for.
"""

from __future__ import annotations

import binascii
import re

_TOLERATED = re.compile(rb"([A-Za-z0-9+/]*)([=.]*)")
_WHITE_SPACE = b" \t\n\v\f\r"
_PADDING = {0: 0, 2: 2, 3: 1}


def decode_base64(text: str | bytes) -> bytes:
    """The bytes that `text` encodes; raises ValueError if it is not base64."""
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        decoded = b""
    # Python's strict mode overlooks padding where none belongs.
    if len(text) == 4 * ((len(decoded) + 2) // 3):
        return decoded
    return _decode_tolerantly(text.encode() if isinstance(text, str) else text)


def _decode_tolerantly(text: bytes) -> bytes:
    match = _TOLERATED.fullmatch(text.translate(None, _WHITE_SPACE))
    if match is None:
        raise ValueError("not base64")
    digits, padding = match.groups()
    expected = _PADDING.get(len(digits) % 4)
    if expected is None or len(padding) not in (0, expected):
        raise ValueError("not base64")
    return binascii.a2b_base64(digits + b"=" * expected)
