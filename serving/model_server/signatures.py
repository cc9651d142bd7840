"""What a SignatureDef demands of requests and of outputs, in TensorFlow Serving's words.

The rules and messages are those of `predict_util.cc`, `classifier.cc` and `regressor.cc` in
`tensorflow_serving/servables/tensorflow`, so that gRPC, REST and warmup share them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from serving.model_server.errors import Code, ServingError, invalid_argument

DEFAULT_SIGNATURE = "serving_default"
PREDICT_METHOD = "tensorflow/serving/predict"
CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"

_STRING = np.dtype(object)
_FLOAT = np.dtype(np.float32)
_SHORT_DTYPE_NAMES = {"float32": "float", "float64": "double", "float16": "half"}


@dataclass(frozen=True)
class Classification:
    """Result of a classify signature: `classes` object [N, n] of bytes, `scores` float32 [N, n].

    Either may be None, not both.
    """

    classes: np.ndarray | None
    scores: np.ndarray | None


def foreign_dtype(enum: int) -> np.dtype[Any]:
    """A numpy dtype that stands for a TensorFlow dtype numpy has none for; it equals no other."""
    return np.dtype("V1", metadata={"tensorflow": enum})


def numpy_dtype(enum: int) -> np.dtype[Any]:
    """The numpy dtype of an input, or what stands for it: a model may have a signature that nobody
    outside can ask, with a variant or a resource."""
    try:
        return np.dtype(tf.as_dtype(enum).as_numpy_dtype)
    except (KeyError, TypeError):
        return foreign_dtype(enum)


def tensor_dtype(dtype: np.dtype[Any]) -> tf.DType:
    """The TensorFlow dtype of an array's; objects and byte strings are strings."""
    if dtype.metadata:
        return tf.as_dtype(dtype.metadata["tensorflow"])
    return tf.string if dtype.kind in "OSU" else tf.as_dtype(dtype)


def dtype_text(dtype: tf.DType) -> str:
    """TensorFlow's short name of a dtype in error messages (`float`, not `float32`)."""
    return _SHORT_DTYPE_NAMES.get(dtype.name, dtype.name)


def _enum_name(array: np.ndarray) -> str:
    return "DT_" + dtype_text(tensor_dtype(array.dtype)).upper()


def _joined(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def check_predict_method(signature: Any) -> None:
    """With --enable_signature_method_name_check: refuses a method name that is not serving's."""
    methods = (PREDICT_METHOD, CLASSIFY_METHOD, REGRESS_METHOD)
    if signature.method_name not in methods:
        raise ServingError(
            Code.INTERNAL,
            "Expected prediction signature method_name to be one of "
            f"{{{', '.join(methods)}}}. Was: {signature.method_name}",
        )


def check_input_names(signature: Any, sent: Collection[str]) -> None:
    """Refuses surplus inputs, and missing ones that have no default in the signature."""
    expected = signature.inputs
    if len(sent) > len(expected) or (len(sent) < len(expected) and not signature.defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({{{_joined(sent)}}}) != len({{{_joined(expected)}}}). "
            f"Sent extra: {{{_joined(set(sent) - set(expected))}}}. "
            f"Missing but required: {{{_joined(set(expected) - set(sent))}}}."
        )
    for alias in sorted(expected):
        if alias not in sent and alias not in signature.defaults:
            raise invalid_argument(
                f"Signature input alias: {alias}(feed name: {expected[alias].name}) not found in "
                "request and no default value provided. Inputs expected to be in the request "
                f"{{{_joined(sent)}}}, or default input alias set: {_joined(signature.defaults)}"
            )
    used = set(sent) & set(expected)
    if len(used) != len(sent):
        raise invalid_argument(
            f"Inputs contains invalid name. Used request inputs: {_joined(used)}, "
            f"request input: {_joined(sent)}"
        )


def selected_outputs(signature: Any, output_filter: Sequence[str]) -> tuple[str, ...]:
    """Output aliases to fetch: those of the filter, all (sorted) without one."""
    seen: set[str] = set()
    for alias in output_filter:
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in "
                f"the set {{{_joined(signature.outputs)}}}."
            )
        if alias in seen:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    return tuple(output_filter) or tuple(sorted(signature.outputs))


def has_dtype(array: np.ndarray, dtype: np.dtype[Any]) -> bool:
    """Whether an array is of a signature's dtype, given as numpy's (object for strings)."""
    return array.dtype == dtype or (dtype.hasobject and array.dtype.kind in "SU")


def check_dtypes(
    tensor_names: Sequence[str], dtypes: Sequence[np.dtype[Any]], values: Sequence[np.ndarray]
) -> None:
    """Refuses values whose dtype is not the graph's, as a session numbers and words it."""
    if all(map(has_dtype, values, dtypes)):
        return
    by_name = sorted(zip(tensor_names, dtypes, values, strict=True), key=lambda item: item[0])
    for index, (_, dtype, value) in enumerate(by_name):
        if not has_dtype(value, dtype):
            raise invalid_argument(
                f"Expects arg[{index}] to be {dtype_text(tensor_dtype(dtype))} but "
                f"{dtype_text(tensor_dtype(value.dtype))} is provided"
            )


def classify_tensors(signature: Any, check_method: bool) -> tuple[str, tuple[str, ...]]:
    """Input tensor name, and the output aliases among `classes`, `scores`, of a classify signature.

    Raises ServingError (INVALID_ARGUMENT) if the signature cannot classify.
    """
    if check_method and signature.method_name != CLASSIFY_METHOD:
        raise invalid_argument(
            f"Expected classification signature method_name to be {CLASSIFY_METHOD}. "
            f"Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) not in (1, 2):
        raise invalid_argument(
            f"Expected one or two output Tensors, found {len(signature.outputs)}"
        )
    if "inputs" not in signature.inputs:
        raise invalid_argument(f"No classification inputs found in SignatureDef: {signature}")
    outputs = tuple(alias for alias in ("classes", "scores") if alias in signature.outputs)
    if not outputs:
        raise invalid_argument(
            'Expected classification signature outputs to contain at least one of "classes" or '
            f'"scores". Signature was: {signature}'
        )
    return signature.inputs["inputs"].name, outputs


def classification(outputs: dict[str, np.ndarray], num_examples: int) -> Classification:
    """Checks the fetched `classes` and `scores` against the number of examples sent."""
    classes, scores = outputs.get("classes"), outputs.get("scores")
    if classes is not None:
        _check_class_output("classes", classes, _STRING, num_examples)
    if scores is not None:
        _check_class_output("scores", scores, _FLOAT, num_examples)
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise invalid_argument(
            "Tensors class and score should match in dim_size(1). "
            f"Got {classes.shape[1]} vs. {scores.shape[1]}"
        )
    return Classification(classes, scores)


def _check_class_output(
    alias: str, tensor: np.ndarray, dtype: np.dtype[Any], num_examples: int
) -> None:
    if tensor.ndim != 2:
        raise invalid_argument(
            f"Expected Tensor shape: [batch_size num_classes] but got {_shape_text(tensor)}"
        )
    if not has_dtype(tensor, dtype):
        wanted = "DT_STRING" if dtype == _STRING else "DT_FLOAT"
        raise invalid_argument(f"Expected {alias} Tensor of {wanted}. Got: {_enum_name(tensor)}")
    if tensor.shape[0] != num_examples:
        raise invalid_argument(
            f"Expected {alias} output batch size of {num_examples}. Got: {tensor.shape[0]}"
        )


def regress_tensors(signature: Any, check_method: bool) -> tuple[str, tuple[str, ...]]:
    """Input tensor name and output alias of a regress signature, as `classify_tensors`."""
    if check_method and signature.method_name != REGRESS_METHOD:
        raise invalid_argument(
            f"Expected regression signature method_name to be {REGRESS_METHOD}. "
            f"Was: {signature.method_name}"
        )
    if len(signature.inputs) != 1:
        raise invalid_argument("Expected one input Tensor.")
    if len(signature.outputs) != 1:
        raise invalid_argument("Expected one output Tensor.")
    if "inputs" not in signature.inputs:
        raise invalid_argument(f"No regression inputs found in SignatureDef: {signature}")
    if "outputs" not in signature.outputs:
        raise invalid_argument(f"No regression outputs found in SignatureDef: {signature}")
    return signature.inputs["inputs"].name, ("outputs",)


def regression(outputs: dict[str, np.ndarray], num_examples: int) -> np.ndarray:
    """Checks the fetched `outputs` ([N] or [N, 1], float32) and returns it as float32 [N]."""
    tensor = outputs["outputs"]
    if tensor.ndim != 1 and not (tensor.ndim == 2 and tensor.shape[1] == 1):
        raise invalid_argument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{_shape_text(tensor)}"
        )
    if tensor.shape[0] != num_examples:
        raise invalid_argument(
            "Input batch size did not match output batch size: "
            f"{num_examples} vs. {tensor.shape[0]}"
        )
    if tensor.dtype != _FLOAT:
        raise invalid_argument(f"Expected output Tensor of DT_FLOAT.  Got: {_enum_name(tensor)}")
    return tensor.reshape(num_examples)


def _shape_text(tensor: np.ndarray) -> str:
    return f"[{','.join(map(str, tensor.shape))}]"
