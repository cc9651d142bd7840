"""The exported SavedModel answers as the contract says, whichever way the image comes."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.vocabulary import read_vocabulary
from pipeline.modeling.features import CLASS_LABELS
from pipeline.modeling.network import build_model
from pipeline.modeling.signatures import DefaultSignature, ServingModule, export
from pipeline.settings.hyperparameters import Hyperparameters

TINY = Hyperparameters(filters=(4, 4), dense_units=8, dropout=0.0)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 28, 28, 1)).astype(np.uint8)


@pytest.fixture(scope="module")
def pngs(images: np.ndarray) -> list[bytes]:
    return [tf.io.encode_png(image).numpy() for image in images]


@pytest.fixture(scope="module")
def model_dir(transform_output, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory: Path = tmp_path_factory.mktemp("model") / "1"
    export(ServingModule(build_model(TINY), transform_output), directory)
    return directory


@pytest.fixture(scope="module")
def loaded(model_dir: Path):
    return tf.saved_model.load(str(model_dir))


def examples(pngs: list[bytes], feature: str = "image") -> list[bytes]:
    return [
        tf.train.Example(
            features=tf.train.Features(
                feature={feature: tf.train.Feature(bytes_list=tf.train.BytesList(value=[png]))}
            )
        ).SerializeToString()
        for png in pngs
    ]


def test_method_names_are_those_of_the_contract(model_dir: Path) -> None:
    from tensorflow.python.saved_model import loader_impl

    (graph,) = loader_impl.parse_saved_model(str(model_dir)).meta_graphs
    methods = {
        name: signature.method_name
        for name, signature in graph.signature_def.items()
        if not name.startswith("__")
    }
    assert methods == {
        "classify": "tensorflow/serving/classify",
        "serving_default": "tensorflow/serving/classify",
        "predict_images": "tensorflow/serving/predict",
        "predict_bytes": "tensorflow/serving/predict",
        "predict_examples": "tensorflow/serving/predict",
    }


def test_the_classes_can_be_read_without_running_the_model(model_dir: Path) -> None:
    assert read_vocabulary(model_dir) == list(CLASS_LABELS)


def test_every_signature_gives_the_same_answer(
    loaded, images: np.ndarray, pngs: list[bytes]
) -> None:
    from_pixels = loaded.signatures["predict_images"](images=tf.constant(images, tf.float32))
    from_bytes = loaded.signatures["predict_bytes"](image_bytes=tf.constant(pngs))
    from_examples = loaded.signatures["predict_examples"](examples=tf.constant(examples(pngs)))
    classified = loaded.signatures["classify"](inputs=tf.constant(examples(pngs)))

    probabilities = from_pixels["probabilities"].numpy()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    for answer in (from_bytes, from_examples):
        np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-6)
    best_first = np.sort(probabilities, axis=1)[:, ::-1]
    np.testing.assert_allclose(classified["scores"], best_first, atol=1e-6)
    best = probabilities.argmax(axis=1)
    assert from_bytes["class_id"].numpy().tolist() == best.tolist()
    labels = [CLASS_LABELS[class_id].encode() for class_id in best]
    assert from_bytes["label"].numpy().tolist() == labels
    assert classified["classes"].numpy()[:, 0].tolist() == labels


def test_a_session_restores_what_the_signatures_read(
    model_dir: Path, loaded, images: np.ndarray
) -> None:
    # TensorFlow Serving restores into a session, which finds variables by their names alone.
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(model_dir))
        signature = graph.signature_def["predict_images"]
        in_session = session.run(
            signature.outputs["probabilities"].name, {signature.inputs["images"].name: images}
        )
    expected = loaded.signatures["predict_images"](images=tf.constant(images, tf.float32))
    np.testing.assert_allclose(in_session, expected["probabilities"], atol=1e-6)


@pytest.mark.parametrize("signature", ["classify", "predict_bytes", "predict_examples"])
def test_a_picture_too_large_to_decode_is_refused_by_its_header(
    model_dir: Path, pngs: list[bytes], signature: str
) -> None:
    # In a session, as TensorFlow Serving runs it: what no output depends on would be left out.
    header = (20_000).to_bytes(4, "big") * 2
    large = pngs[0][:16] + header + pngs[0][24:]
    sent = [large] if signature == "predict_bytes" else examples([large])
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(model_dir))
        definition = graph.signature_def[signature]
        (given,) = definition.inputs.values()
        outputs = [output.name for output in definition.outputs.values()]
        with pytest.raises(tf.errors.InvalidArgumentError, match="has 20000 x 20000 pixels, at"):
            session.run(outputs, {given.name: sent})


def test_a_further_feature_name_is_accepted_beside_the_usual_one(
    transform_output, pngs: list[bytes]
) -> None:
    module = ServingModule(build_model(TINY), transform_output, image_feature="photo")
    usual = module.predict_examples(tf.constant(examples(pngs)))
    further = module.predict_examples(tf.constant(examples(pngs, "photo")))
    np.testing.assert_array_equal(usual["probabilities"], further["probabilities"])


def test_the_default_signature_can_take_bare_pixels(
    transform_output, images: np.ndarray, tmp_path: Path
) -> None:
    module = ServingModule(build_model(TINY), transform_output)
    export(module, tmp_path / "1", DefaultSignature.PIXELS)
    default = tf.saved_model.load(str(tmp_path / "1")).signatures["serving_default"]
    answer = default(images=tf.constant(images, tf.float32))
    assert set(answer) == {"probabilities"}


def test_with_the_mirror_image_averaged_in_both_get_the_same_answer(
    images: np.ndarray, transform_output
) -> None:
    module = ServingModule(build_model(TINY), transform_output, test_time_flip=True)
    answers = module.predict_images(images.astype(np.float32))
    mirrored = module.predict_images(images[:, :, ::-1].astype(np.float32))
    np.testing.assert_allclose(
        answers["probabilities"], mirrored["probabilities"], rtol=1e-5, atol=1e-6
    )


def test_the_temperature_is_part_of_what_is_exported(
    images: np.ndarray, transform_output, tmp_path: Path
) -> None:
    module = ServingModule(build_model(TINY), transform_output)
    before = module.predict_images(images.astype(np.float32))
    # The classes that the untrained network finds least likely: it should be sure of nothing.
    wrong = before["probabilities"].numpy().argmin(axis=1)
    batches = tf.data.Dataset.from_tensor_slices(images / np.float32(255)).batch(8)
    assert module.calibrate(batches, wrong) > 1
    export(module, tmp_path / "1")
    answer = tf.saved_model.load(str(tmp_path / "1")).signatures["predict_images"](
        images=tf.constant(images, tf.float32)
    )
    assert (answer["probabilities"].numpy().max(1) < before["probabilities"].numpy().max(1)).all()


def test_what_label_smoothing_added_is_not_part_of_what_is_exported(
    images: np.ndarray, transform_output, tmp_path: Path
) -> None:
    network = build_model(TINY)
    modules = (
        ServingModule(network, transform_output, label_smoothing=smoothing)
        for smoothing in (0.0, 0.2)
    )
    answers = []
    for number, module in enumerate(modules):
        export(module, tmp_path / str(number))
        loaded = tf.saved_model.load(str(tmp_path / str(number)))
        pixels = tf.constant(images, tf.float32)
        answer = loaded.signatures["predict_images"](images=pixels)["probabilities"]
        answers.append(answer.numpy())
    with_share, without = answers
    np.testing.assert_array_equal(np.argsort(with_share), np.argsort(without))
    assert (without.max(axis=1) > with_share.max(axis=1)).all()
