"""When an answer counts as the recorded one.

Status, content type and JSON structure are equal; object keys are unordered; floats agree to 1e-5
relative. Error texts are equal after folding white space, up to what varies between TensorFlow
builds: node names after the first `[[`, a signature's debug dump, a kernel's own wording.
"""

import json
import math
import re
from typing import Any

KERNEL_WORDINGS = [
    # TensorFlow 2.21 also decodes JPEG XL and says so.
    ("JPEG, JPEG XL, PNG", "JPEG, PNG"),
]

_DUMPS = ("SignatureDef: ", "Signature was: ")


def same_error(one: str, other: str) -> bool:
    """Whether two error texts say the same."""
    return _comparable(one) == _comparable(other)


def _comparable(text: str) -> str:
    text = text.partition("[[")[0]
    for dump in _DUMPS:
        text = text.partition(dump)[0]
    for newer, older in KERNEL_WORDINGS:
        text = text.replace(newer, older)
    return re.sub(r"\s+", " ", text).strip()


def same_json(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, floats to 1e-5 relative."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-5) or (math.isnan(one) and math.isnan(other))
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return bool(one == other)


def same_body(one: str, other: str) -> bool:
    """Whether two response bodies say the same; bodies that are not JSON must be equal."""
    try:
        left, right = json.loads(one), json.loads(other)
    except ValueError:
        return one == other
    if isinstance(left, dict) and left.keys() == {"error"} == right.keys():
        return same_error(left["error"], right["error"])
    return same_json(left, right)
