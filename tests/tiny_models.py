"""Tiny SavedModels with the contract's signatures, sound ones and ones with a single fault.

They tell five shades of grey in 4x4 images apart by their mean; building one takes a second.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from components.infra_validator.spec import Input, Method, SignatureRequest, Source, ValidationSpec
from serving.launch.base import ServerKind

LABELS = ["black", "dark", "grey", "light", "white"]
SIZE = 4

_CLASSIFY = "tensorflow/serving/classify"
Outputs = dict[str, tf.Tensor]


class GreyClassifier(tf.Module):
    """A classifier whose probabilities fall with the distance from a shade's mean."""

    def __init__(
        self,
        trained: bool = True,
        labels: list[str] | None = None,
        spoil: Callable[[tf.Tensor], tf.Tensor] = lambda probabilities: probabilities,
    ) -> None:
        """Makes the model.

        Args:
            trained: whether it knows the shades.
            labels: the vocabulary that it answers with.
            spoil: turns the right probabilities [N, 5] into wrong ones.
        """
        super().__init__()
        centres = np.linspace(0, 255, len(LABELS)) if trained else np.zeros(len(LABELS))
        self._centres = tf.Variable(centres, dtype=tf.float32, name="centres")
        self._labels = tf.constant(labels or LABELS)
        self._spoil = spoil

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs: tf.Tensor) -> Outputs:
        probabilities = self._from_examples(inputs)
        scores, order = tf.math.top_k(probabilities, k=tf.shape(probabilities)[1])
        return {"classes": tf.gather(self._labels, order), "scores": scores}

    @tf.function(input_signature=[tf.TensorSpec([None, SIZE, SIZE, 1], tf.float32, name="images")])
    def predict_images(self, images: tf.Tensor) -> Outputs:
        return self._answer(self._probabilities(images))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def predict_bytes(self, image_bytes: tf.Tensor) -> Outputs:
        return self._answer(self._from_bytes(image_bytes))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def predict_examples(self, examples: tf.Tensor) -> Outputs:
        return self._answer(self._from_examples(examples))

    def _from_examples(self, serialized: tf.Tensor) -> tf.Tensor:
        features = tf.io.parse_example(serialized, {"image": tf.io.FixedLenFeature([], tf.string)})
        return self._from_bytes(features["image"])

    def _from_bytes(self, encoded: tf.Tensor) -> tf.Tensor:
        images = tf.map_fn(
            lambda image: tf.reshape(tf.io.decode_png(image, channels=1), [SIZE, SIZE, 1]),
            encoded,
            fn_output_signature=tf.uint8,
        )
        return self._probabilities(tf.cast(images, tf.float32))

    def _probabilities(self, images: tf.Tensor) -> tf.Tensor:
        means = tf.reduce_mean(images, axis=[1, 2, 3])
        distances = tf.abs(means[:, tf.newaxis] - self._centres[tf.newaxis, :])
        return self._spoil(tf.nn.softmax(-distances / 10))

    def _answer(self, probabilities: tf.Tensor) -> Outputs:
        class_id = tf.argmax(probabilities, axis=1)
        return {
            "probabilities": probabilities,
            "class_id": class_id,
            "label": tf.gather(self._labels, class_id),
        }


def save(
    module: GreyClassifier,
    directory: Path,
    without: str = "",
    method_names: bool = True,
) -> Path:
    """Saves a model with its signatures; returns the directory.

    Args:
        module: the model.
        directory: of the SavedModel.
        without: a signature to leave out.
        method_names: give the classify signatures their method name.
    """
    signatures = {
        "serving_default": module.classify,
        "classify": module.classify,
        "predict_images": module.predict_images,
        "predict_bytes": module.predict_bytes,
        "predict_examples": module.predict_examples,
    }
    signatures.pop(without, None)
    tf.saved_model.save(module, str(directory), signatures=signatures)
    if method_names:
        updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(directory))
        for name in {"serving_default", "classify"} & set(signatures):
            updater.replace_method_name(name, _CLASSIFY)
        updater.save()
    return directory


def grey_examples(count: int) -> list[bytes]:
    """Returns serialized tf.Examples (`image`, `label`), the shades in turn."""
    examples = []
    for index in range(count):
        label = index % len(LABELS)
        shade = round(255 * label / (len(LABELS) - 1))
        pixels = np.full([SIZE, SIZE, 1], shade, np.uint8)
        pixels[0, 0, 0] = index % 256
        features = {
            "image": tf.train.Feature(
                bytes_list=tf.train.BytesList(value=[tf.io.encode_png(pixels).numpy()])
            ),
            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        examples.append(example.SerializeToString())
    return examples


def grey_spec(**changes: Any) -> ValidationSpec:
    """Returns how the sound model is validated."""
    from_example = {"inputs": Input(source=Source.EXAMPLE)}
    requests = {
        "serving_default": SignatureRequest(method=Method.CLASSIFY, inputs=from_example),
        "classify": SignatureRequest(method=Method.CLASSIFY, inputs=from_example),
        "predict_images": SignatureRequest(
            method=Method.PREDICT, inputs={"images": Input(source=Source.IMAGE, feature="image")}
        ),
        "predict_bytes": SignatureRequest(
            method=Method.PREDICT,
            inputs={"image_bytes": Input(source=Source.FEATURE, feature="image")},
        ),
        "predict_examples": SignatureRequest(
            method=Method.PREDICT, inputs={"examples": Input(source=Source.EXAMPLE)}
        ),
    }
    settings = {
        "model_name": "grey",
        "requests": requests,
        "labels": LABELS,
        "example_features": ["image"],
        "label_feature": "label",
        "min_sample_accuracy": 0.3,
        "model_server": ServerKind.EMBEDDED,
        "examples": 20,
        "batch_size": 8,
    }
    return ValidationSpec(**(settings | changes))
