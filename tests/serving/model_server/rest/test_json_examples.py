"""Classify and regress bodies to tf.Examples: TensorFlow Serving's rules and error texts."""

import json
from typing import Any

import pytest
from tensorflow.core.example import example_pb2

from serving.model_server.errors import Code, ServingError
from serving.model_server.rest.json_examples import read_examples


def features(body: Any) -> list[dict[str, Any]]:
    """What the Examples hold: (kind, values) by feature name."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    read = [example_pb2.Example.FromString(item) for item in read_examples(raw).examples]
    return [
        {
            name: (
                feature.WhichOneof("kind"),
                list(getattr(feature, feature.WhichOneof("kind") or "int64_list").value),
            )
            for name, feature in example.features.feature.items()
        }
        for example in read
    ]


@pytest.mark.parametrize(
    ("sent", "feature"),
    [
        (2.0, ("float_list", [2.0])),
        (2, ("int64_list", [2])),
        (-(2**63), ("int64_list", [-(2**63)])),
        (True, ("int64_list", [1])),
        ("s", ("bytes_list", [b"s"])),
        ({"b64": "YWJj"}, ("bytes_list", [b"abc"])),
        ([1.5, 2.5], ("float_list", [1.5, 2.5])),
        ([1, False], ("int64_list", [1, 0])),
        (["a", {"b64": "Yg=="}], ("bytes_list", [b"a", b"b"])),
        ([], (None, [])),
    ],
)
def test_the_json_type_decides_the_kind_of_a_feature(sent: Any, feature: Any) -> None:
    assert features({"examples": [{"x": sent}]}) == [{"x": feature}]


def test_floats_beyond_float32_become_infinity() -> None:
    assert features({"examples": [{"x": 1e300}]})[0]["x"] == ("float_list", [float("inf")])


def test_the_context_joins_every_example_and_gives_way_to_it() -> None:
    body = {"context": {"x": 3.0, "y": 1}, "examples": [{}, {"x": 1.0}]}
    assert features(body) == [
        {"x": ("float_list", [3.0]), "y": ("int64_list", [1])},
        {"x": ("float_list", [1.0]), "y": ("int64_list", [1])},
    ]


def test_of_features_sent_twice_the_last_counts() -> None:
    assert features(b'{"examples": [{"x": 1.0, "x": 2}]}') == [{"x": ("int64_list", [2])}]


def test_the_signature_name_is_handed_on() -> None:
    assert read_examples(b'{"signature_name": "c", "examples": [{}]}').signature_name == "c"
    assert read_examples(b'{"examples": [{}]}').signature_name == ""


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            {},
            "JSON Value: {} When method is classify, key 'examples' is expected and was not found",
        ),
        (
            {"examples": {}},
            "JSON Value: {\n    \"examples\": {}\n} Expecting 'examples' value to be an list/array",
        ),
        (
            {"examples": []},
            "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array",
        ),
        ({"examples": [5]}, "Example must be JSON object but got JSON Number"),
        (
            {"context": [], "examples": [{}]},
            "Example must be JSON object but got JSON Array",
        ),
        ({"examples": [{"x": None}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": {}}]}, "Feature: x has element with unexpected JSON type: Object"),
        ({"examples": [{"x": [[1]]}]}, "Feature: x has element with unexpected JSON type: Array"),
        (
            {"examples": [{"x": [1, 2.5]}]},
            "Unexpected element type in feature: x expecting type: int64",
        ),
        (
            {"examples": [{"x": [1.5, "s"]}]},
            "Unexpected element type in feature: x expecting type: float",
        ),
        (
            {"examples": [{"x": ["s", True]}]},
            "Unexpected element type in feature: x expecting type: bytes",
        ),
        (
            {"examples": [{"x": 2**63}]},
            "Feature: x has uint64_t element. Only int64_t is supported.",
        ),
        ({"examples": [{"x": {"b64": "!"}}]}, "Unable to base64 decode"),
    ],
)
def test_wrong_bodies_are_refused_with_tensorflow_servings_text(body: Any, error: str) -> None:
    with pytest.raises(ServingError) as refused:
        read_examples(json.dumps(body).encode())
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert refused.value.message == error
