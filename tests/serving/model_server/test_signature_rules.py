"""The tables on signatures: what classify, regress and predict demand (research F6, F7)."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from serving.model_server import signatures as rules
from serving.model_server.errors import Code, ServingError

LABELS = np.array([[b"a", b"b"], [b"c", b"d"]], object)
SCORES = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)


def signature(
    inputs: dict[str, tf.DType], outputs: dict[str, tf.DType], method_name: str = ""
) -> Any:
    definition = meta_graph_pb2.SignatureDef(method_name=method_name)
    for infos, wanted in ((definition.inputs, inputs), (definition.outputs, outputs)):
        for alias, dtype in wanted.items():
            infos[alias].name = f"{alias}_tensor:0"
            infos[alias].dtype = dtype.as_datatype_enum
    return definition


CLASSIFY = signature(
    {"inputs": tf.string}, {"classes": tf.string, "scores": tf.float32}, rules.CLASSIFY_METHOD
)
REGRESS = signature({"inputs": tf.string}, {"outputs": tf.float32}, rules.REGRESS_METHOD)
PREDICT = signature({"x": tf.float32, "k": tf.int64}, {"y": tf.float32, "z": tf.string})


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (signature({"a": tf.string, "b": tf.string}, {"scores": tf.float32}), "Expected one input"),
        (signature({}, {"scores": tf.float32}), "Expected one input Tensor."),
        (
            signature({"x": tf.string}, {"scores": tf.float32}),
            "No classification inputs found in SignatureDef: ",
        ),
        (signature({"inputs": tf.string}, {}), "Expected one or two output Tensors, found 0"),
        (
            signature({"inputs": tf.string}, dict.fromkeys("abc", tf.float32)),
            "Expected one or two output Tensors, found 3",
        ),
        (
            signature({"inputs": tf.string}, {"outputs": tf.float32}),
            "Expected classification signature outputs to contain at least one of "
            '"classes" or "scores". Signature was: ',
        ),
    ],
)
def test_a_signature_that_cannot_classify_is_refused(definition: Any, message: str) -> None:
    with pytest.raises(ServingError) as refusal:
        rules.classify_tensors(definition, check_method=False)
    assert refusal.value.code == Code.INVALID_ARGUMENT
    assert refusal.value.message.startswith(message)


def test_a_further_output_besides_classes_or_scores_is_ignored() -> None:
    definition = signature({"inputs": tf.string}, {"scores": tf.float32, "extra": tf.int64})
    assert rules.classify_tensors(definition, False) == ("inputs_tensor:0", ("scores",))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            {"scores": SCORES[0]},
            "Expected Tensor shape: [batch_size num_classes] but got [2]",
        ),
        (
            {"classes": SCORES},
            "Expected classes Tensor of DT_STRING. Got: DT_FLOAT",
        ),
        (
            {"scores": SCORES.astype(np.float64)},
            "Expected scores Tensor of DT_FLOAT. Got: DT_DOUBLE",
        ),
        ({"classes": LABELS[:1]}, "Expected classes output batch size of 2. Got: 1"),
        ({"scores": SCORES[:1]}, "Expected scores output batch size of 2. Got: 1"),
        (
            {"classes": LABELS, "scores": SCORES[:, :1]},
            "Tensors class and score should match in dim_size(1). Got 2 vs. 1",
        ),
    ],
)
def test_outputs_that_are_no_classification_are_refused(
    outputs: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ServingError) as refusal:
        rules.classification(outputs, num_examples=2)
    assert (refusal.value.code, refusal.value.message) == (Code.INVALID_ARGUMENT, message)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (signature({}, {"outputs": tf.float32}), "Expected one input Tensor."),
        (
            signature({"inputs": tf.string}, {"outputs": tf.float32, "more": tf.float32}),
            "Expected one output Tensor.",
        ),
        (
            signature({"x": tf.string}, {"outputs": tf.float32}),
            "No regression inputs found in SignatureDef: ",
        ),
        (
            signature({"inputs": tf.string}, {"scores": tf.float32}),
            "No regression outputs found in SignatureDef: ",
        ),
    ],
)
def test_a_signature_that_cannot_regress_is_refused(definition: Any, message: str) -> None:
    with pytest.raises(ServingError) as refusal:
        rules.regress_tensors(definition, check_method=False)
    assert refusal.value.code == Code.INVALID_ARGUMENT
    assert refusal.value.message.startswith(message)


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            SCORES,
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] "
            "but got [2,2]",
        ),
        (
            np.zeros([3], np.float32),
            "Input batch size did not match output batch size: 2 vs. 3",
        ),
        (np.zeros([2], np.int64), "Expected output Tensor of DT_FLOAT.  Got: DT_INT64"),
    ],
)
def test_outputs_that_are_no_regression_are_refused(output: np.ndarray, message: str) -> None:
    with pytest.raises(ServingError) as refusal:
        rules.regression({"outputs": output}, num_examples=2)
    assert refusal.value.message == message


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_a_regression_is_one_value_per_example(shape: tuple[int, ...]) -> None:
    values = rules.regression({"outputs": np.float32([1, 2]).reshape(shape)}, num_examples=2)
    assert values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("check", "definition", "message"),
    [
        (
            rules.classify_tensors,
            REGRESS,
            "Expected classification signature method_name to be tensorflow/serving/classify. "
            "Was: tensorflow/serving/regress",
        ),
        (
            rules.regress_tensors,
            CLASSIFY,
            "Expected regression signature method_name to be tensorflow/serving/regress. "
            "Was: tensorflow/serving/classify",
        ),
    ],
)
def test_method_names_count_only_if_asked_for(check: Any, definition: Any, message: str) -> None:
    with pytest.raises(ServingError) as refusal:
        check(definition, True)
    assert refusal.value.message == message


def test_predict_takes_any_of_the_three_method_names() -> None:
    for definition in (CLASSIFY, REGRESS):
        rules.check_predict_method(definition)
    with pytest.raises(ServingError) as refusal:
        rules.check_predict_method(PREDICT)
    assert refusal.value.code == Code.INTERNAL


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (
            ["x"],
            "input size does not match signature: 1!=2 len({x}) != len({k,x}). "
            "Sent extra: {}. Missing but required: {k}.",
        ),
        (
            ["x", "k", "q"],
            "input size does not match signature: 3!=2 len({k,q,x}) != len({k,x}). "
            "Sent extra: {q}. Missing but required: {}.",
        ),
        (
            ["x", "q"],
            "Signature input alias: k(feed name: k_tensor:0) not found in request and no default "
            "value provided. Inputs expected to be in the request {q,x}, or default input alias "
            "set: ",
        ),
    ],
)
def test_inputs_other_than_the_signatures_are_refused(sent: list[str], message: str) -> None:
    with pytest.raises(ServingError) as refusal:
        rules.check_input_names(PREDICT, sent)
    assert (refusal.value.code, refusal.value.message) == (Code.INVALID_ARGUMENT, message)


def test_an_input_with_a_default_may_be_left_out() -> None:
    definition = meta_graph_pb2.SignatureDef()
    definition.CopyFrom(PREDICT)
    definition.defaults["k"].CopyFrom(tf.make_tensor_proto([1], tf.int64))
    rules.check_input_names(definition, ["x"])


@pytest.mark.parametrize(
    ("output_filter", "message"),
    [
        (
            ["q"],
            "output tensor alias not found in signature: q Outputs expected to be in the set "
            "{y,z}.",
        ),
        (["y", "y"], "duplicate output tensor alias: y"),
    ],
)
def test_an_output_filter_names_outputs_of_the_signature_once(
    output_filter: list[str], message: str
) -> None:
    with pytest.raises(ServingError) as refusal:
        rules.selected_outputs(PREDICT, output_filter)
    assert (refusal.value.code, refusal.value.message) == (Code.INVALID_ARGUMENT, message)


def test_without_a_filter_all_outputs_are_fetched() -> None:
    assert rules.selected_outputs(PREDICT, []) == ("y", "z")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([True]), "Expects arg[1] to be float but bool is provided"),
        (np.array([b"a"], object), "Expects arg[1] to be float but string is provided"),
        (np.zeros([1], np.float64), "Expects arg[1] to be float but double is provided"),
    ],
)
def test_a_wrong_dtype_is_refused_by_the_position_of_the_tensor(
    value: np.ndarray, message: str
) -> None:
    with pytest.raises(ServingError) as refusal:
        rules.check_dtypes(
            ["x:0", "a:0"], [np.dtype("float32"), np.dtype("int64")], [value, np.int64([0])]
        )
    assert (refusal.value.code, refusal.value.message) == (Code.INVALID_ARGUMENT, message)
