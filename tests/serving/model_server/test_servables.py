"""What a core's servables answer: selection of models and the golden cases (research F3, F11)."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from serving.model_server.errors import Code, ServingError


def example(**features: float) -> bytes:
    feature = {
        name: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        for name, value in features.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


@pytest.mark.parametrize(
    ("selection", "code", "message"),
    [
        (("nope",), Code.NOT_FOUND, "Servable not found for request: Latest(nope)"),
        (
            ("half_plus", 9),
            Code.NOT_FOUND,
            "Servable not found for request: Specific(half_plus, 9)",
        ),
        (
            ("half_plus", None, "zzz"),
            Code.INVALID_ARGUMENT,
            "Unrecognized servable version label: zzz",
        ),
        (("",), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
    ],
)
def test_what_is_not_served_is_refused(
    core: Any, selection: tuple[Any, ...], code: Code, message: str
) -> None:
    with pytest.raises(ServingError) as refusal:
        core.servable(*selection)
    assert (refusal.value.code, refusal.value.message) == (code, message)


@pytest.mark.parametrize(
    ("selection", "version"),
    [
        (("half_plus",), 2),
        (("half_plus", 1), 1),
        (("half_plus", None, "stable"), 1),
        (("half_plus", None, "canary"), 2),
        (("fashion",), 7),
    ],
)
def test_a_request_finds_its_version(core: Any, selection: tuple[Any, ...], version: int) -> None:
    with core.servable(*selection) as servable:
        assert servable.version == version


@pytest.mark.parametrize(("x", "y"), [(2.0, 3.0), (1.0, 2.5), (5.0, 4.5)])
def test_predict_classify_and_regress_agree(core: Any, x: float, y: float) -> None:
    with core.servable("half_plus", 1) as servable:
        predicted = servable.predict("", {"x": np.float32([x])})
        classified = servable.classify("classify", [example(x=x)])
        regressed = servable.regress("regress", [example(x=x)])
    assert predicted["y"].tolist() == [y]
    assert (classified.classes, classified.scores.tolist()) == (None, [[y]])
    assert regressed.tolist() == [y]


def test_multi_inference_answers_each_task(core: Any) -> None:
    tasks = [
        ("classify", "tensorflow/serving/classify"),
        ("regress", "tensorflow/serving/regress"),
    ]
    with core.servable("half_plus", 1) as servable:
        classified, regressed = servable.multi_inference(tasks, lambda: [example(x=2.0)])
    assert classified.scores.tolist() == [[3.0]]
    assert regressed.tolist() == [3.0]


@pytest.mark.parametrize(
    ("tasks", "code", "message"),
    [
        (
            [("nope", "tensorflow/serving/classify")],
            Code.INVALID_ARGUMENT,
            "Requested signature not found in model graph: nope",
        ),
        (
            [("regress", "tensorflow/serving/predict")],
            Code.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
    ],
)
def test_multi_inference_refuses_tasks_it_cannot_do(
    core: Any, tasks: list[tuple[str, str]], code: Code, message: str
) -> None:
    with core.servable("half_plus") as servable, pytest.raises(ServingError) as refusal:
        servable.multi_inference(tasks, lambda: [example(x=2.0)])
    assert (refusal.value.code, refusal.value.message) == (code, message)


def test_no_examples_are_refused(core: Any) -> None:
    with core.servable("half_plus") as servable, pytest.raises(ServingError) as refusal:
        servable.classify("classify", [])
    assert (refusal.value.code, refusal.value.message) == (
        Code.INVALID_ARGUMENT,
        "Input is empty.",
    )


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        (
            "predict",
            Code.FAILED_PRECONDITION,
            'Serving signature key "nope" not found.',
        ),
        ("classify", Code.INVALID_ARGUMENT, "No signature was found with the name: nope"),
        ("regress", Code.INVALID_ARGUMENT, "No signature was found with the name: nope"),
    ],
)
def test_an_unknown_signature_is_refused(core: Any, call: str, code: Code, message: str) -> None:
    with core.servable("half_plus") as servable, pytest.raises(ServingError) as refusal:
        getattr(servable, call)("nope", {} if call == "predict" else [b""])
    assert (refusal.value.code, refusal.value.message) == (code, message)


def test_a_kernels_refusal_keeps_its_code(core: Any) -> None:
    with core.servable("shapes") as servable, pytest.raises(ServingError) as refusal:
        servable.predict("checked", {"v": np.float32([-1])})
    assert refusal.value.code == Code.INVALID_ARGUMENT
    assert "assertion failed" in refusal.value.message


def test_a_kernels_refusal_may_quote_bytes_that_are_no_text(core: Any) -> None:
    png = np.array([b"\x89PNG\r\n\x1a\n"], object)
    with core.servable("fashion") as servable, pytest.raises(ServingError) as refusal:
        servable.predict("serving_default", {"inputs": png})
    assert refusal.value.code == Code.INVALID_ARGUMENT
    assert "Could not parse example input" in refusal.value.message


def test_status_lists_all_versions_newest_first(core: Any) -> None:
    assert [(item.version, item.state.name) for item in core.model_status("half_plus")] == [
        (2, "AVAILABLE"),
        (1, "AVAILABLE"),
    ]


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("nope", None, "Could not find any versions of model nope"),
        ("half_plus", 9, "Could not find version 9 of model half_plus"),
    ],
)
def test_status_of_what_was_never_seen_is_refused(
    core: Any, name: str, version: int | None, message: str
) -> None:
    with pytest.raises(ServingError) as refusal:
        core.model_status(name, version)
    assert (refusal.value.code, refusal.value.message) == (Code.NOT_FOUND, message)
