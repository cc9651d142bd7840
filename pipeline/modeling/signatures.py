"""The serving signatures of the exported SavedModel."""

from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.vocabulary import write_vocabulary
from pipeline.modeling.calibration import class_probabilities, fit_temperature
from pipeline.modeling.features import CLASS_LABELS, IMAGE, transformed_name
from pipeline.modeling.preprocessing import scale_pixels


class DefaultSignature(StrEnum):
    """What `serving_default` is: `classify`, or a predict signature that takes bare pixels."""

    CLASSIFY = "classify"
    PIXELS = "pixels"


class ServingModule(tf.Module):
    """The trained network behind the transform graph, one method per signature."""

    def __init__(
        self,
        model: keras.Model,
        transform_output: tft.TFTransformOutput,
        image_feature: str = IMAGE,
        labels: Sequence[str] = CLASS_LABELS,
        *,
        test_time_flip: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        """Wraps a float32 `model` that returns logits.

        Args:
            model: float32 [N, size, size, channels], 0 to 1, to float32 logits [N, labels].
            transform_output: what Transform exported; its graph decodes and scales.
            image_feature: a further name under which clients may send the image in a tf.Example.
            labels: names of the classes, in the order of the logits.
            test_time_flip: whether the mirror image is looked at as well, at twice the cost.
            label_smoothing: with which the network was trained.
        """
        super().__init__()
        # A tracked Keras model is saved with a second copy of every variable, and TensorFlow
        # Serving would restore only that one; so the module tracks the variables themselves.
        self._network = partial(model, training=False)
        self._images = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32, name="images")
        self._weights = [weight.value for weight in model.weights]
        # Without a reference from here, the layer's resources are not saved.
        self._transform = transform_output.transform_features_layer()
        self._image_features = list(dict.fromkeys([IMAGE, image_feature]))
        self._labels = tf.constant(list(labels))
        self._test_time_flip = test_time_flip
        self._label_smoothing = label_smoothing
        self._temperature = tf.Variable(1.0, trainable=False, name="temperature")

    @property
    def labels(self) -> list[str]:
        """Names of the classes, in the order of their ids."""
        return [label.decode() for label in self._labels.numpy()]

    def on_pixels(self, method: Any) -> Any:
        """Returns a method that takes pixels, made for images of the network's own shape."""
        return method.get_concrete_function(self._images)

    def calibrate(self, images: tf.data.Dataset, labels: np.ndarray) -> float:
        """Fits the temperature by which logits are divided.

        Args:
            images: batches, float32 [n, size, size, channels], 0 to 1, that the model was not
                fitted to.
            labels: int64 [N].

        Returns:
            The temperature; above 1 for a model that was too sure of itself.
        """
        logits = np.concatenate(list(images.map(self._logits).as_numpy_iterator()))
        temperature = fit_temperature(logits, labels, self._label_smoothing)
        self._temperature.assign(temperature)
        return temperature

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """All labels with their scores, best first, for serialized tf.Examples."""
        probabilities = self._from_bytes(self._parse(inputs))
        scores, order = tf.math.top_k(probabilities, k=len(self._labels))
        return {"classes": tf.gather(self._labels, order), "scores": scores}

    @tf.function
    def predict_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities for raw pixels, 0 to 255."""
        return self._answer(self._from_pixels(images))

    @tf.function
    def predict_pixels(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """As `predict_images`, with the single output that lets REST answer bare lists."""
        return {"probabilities": self._from_pixels(images)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def predict_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities for JPEG or PNG bytes."""
        return self._answer(self._from_bytes(image_bytes))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def predict_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Probabilities for serialized tf.Examples; Evaluator reads these."""
        return self._answer(self._from_bytes(self._parse(examples)))

    def _parse(self, serialized: tf.Tensor) -> tf.Tensor:
        if len(self._image_features) == 1:
            (name,) = self._image_features
            return tf.io.parse_example(serialized, {name: tf.io.FixedLenFeature([], tf.string)})[
                name
            ]
        absent_is_empty = tf.io.FixedLenFeature([], tf.string, default_value="")
        features = tf.io.parse_example(
            serialized, dict.fromkeys(self._image_features, absent_is_empty)
        )
        usual, further = (features[name] for name in self._image_features)
        return tf.where(further != "", further, usual)

    def _from_bytes(self, encoded: tf.Tensor) -> tf.Tensor:
        transformed = self._transform({IMAGE: encoded})
        return self._probabilities(transformed[transformed_name(IMAGE)])

    def _from_pixels(self, images: tf.Tensor) -> tf.Tensor:
        return self._probabilities(scale_pixels(images))

    def _probabilities(self, scaled: tf.Tensor) -> tf.Tensor:
        return class_probabilities(self._logits(scaled), self._temperature, self._label_smoothing)

    def _logits(self, scaled: tf.Tensor) -> tf.Tensor:
        if not self._test_time_flip:
            return self._network(scaled)
        return (self._network(scaled) + self._network(tf.reverse(scaled, axis=[2]))) / 2

    def _answer(self, probabilities: tf.Tensor) -> dict[str, tf.Tensor]:
        class_id = tf.argmax(probabilities, axis=1)
        return {
            "probabilities": probabilities,
            "class_id": class_id,
            "label": tf.gather(self._labels, class_id),
        }


def export(
    module: ServingModule,
    directory: Path,
    default_signature: DefaultSignature = DefaultSignature.CLASSIFY,
) -> None:
    """Writes a SavedModel with every signature of `module`, and its labels beside them.

    Args:
        module: the trained model.
        directory: of the SavedModel; created.
        default_signature: what `serving_default` answers.
    """
    classify_signatures = ["classify"]
    signatures = {
        "classify": module.classify,
        "predict_images": module.on_pixels(module.predict_images),
        "predict_bytes": module.predict_bytes,
        "predict_examples": module.predict_examples,
    }
    if default_signature is DefaultSignature.CLASSIFY:
        signatures["serving_default"] = module.classify
        classify_signatures.append("serving_default")
    else:
        signatures["serving_default"] = module.on_pixels(module.predict_pixels)
    tf.saved_model.save(module, str(directory), signatures=signatures)
    _set_classify_method_name(directory, classify_signatures)
    write_vocabulary(directory, module.labels)


def _set_classify_method_name(directory: Path, signatures: list[str]) -> None:
    # TensorFlow 2 writes every signature as a predict one.
    constants = tf.compat.v1.saved_model.signature_constants
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(directory))
    for signature in signatures:
        updater.replace_method_name(signature, constants.CLASSIFY_METHOD_NAME)
    updater.save()
