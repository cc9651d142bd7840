"""A folder of pictures becomes a data root with settings, or is refused as a whole."""

import io
import tomllib
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorflow_metadata.proto.v0 import schema_pb2

from data import idx
from data.prepare import PrepareError, prepare
from data.refusal import DataRefused
from pipeline.settings.load import load_config
from pipeline.settings.paths import SCHEMA_FILE

SIZE = 4
SCHEMA = SCHEMA_FILE.read_text()


def decode(encoded: bytes) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return np.asarray(image.convert("L").resize((SIZE, SIZE)))
    except OSError:
        raise ValueError("damaged") from None


def draw(folder: Path, shades: range, size: tuple[int, int] = (9, 7), mode: str = "RGB") -> None:
    folder.mkdir(parents=True)
    for shade in shades:
        Image.new(mode, size, (shade,) * len(mode)).save(folder / f"{shade}.png")


def run(pictures: Path, output: Path):
    return prepare(pictures, output, SIZE, decode, SCHEMA, "fruit")


def test_folders_per_class_become_a_data_root_with_a_fifth_held_out(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "Äpfel", range(20))
    draw(tmp_path / "in" / "pears 2", range(100, 130), size=(40, 40))

    done = run(tmp_path / "in", tmp_path / "out")

    assert done.labels == ("pears 2", "Äpfel")
    assert (done.train, done.test) == (40, 10)
    official = tmp_path / "out" / "base"
    train = idx.read_images(official / "train-images-idx3-ubyte.gz")
    test = idx.read_images(official / "t10k-images-idx3-ubyte.gz")
    assert train.shape == (40, SIZE, SIZE)
    assert not set(train[:, 0, 0]) & set(test[:, 0, 0])
    labels = idx.read_labels(official / "t10k-labels-idx1-ubyte.gz")
    assert labels.tolist() == [0] * 6 + [1] * 4


def test_the_settings_are_valid_and_name_the_classes(tmp_path: Path) -> None:
    draw(tmp_path / "in" / 'the "good" ones', range(10))
    draw(tmp_path / "in" / "others", range(50, 60))

    done = run(tmp_path / "in", tmp_path / "out")

    config = load_config(file=done.settings)
    assert config.data.labels == ("others", 'the "good" ones')
    assert config.data_root == tmp_path / "out"
    assert config.serving_dir == tmp_path / "out" / "var" / "serving" / "fruit"
    schema = text_format.Parse(config.schema_file.read_text(), schema_pb2.Schema())
    [label] = [feature for feature in schema.feature if feature.name == "label"]
    assert (label.int_domain.min, label.int_domain.max) == (0, 1)
    assert label.drift_comparator.infinity_norm.threshold
    assert tomllib.loads(done.settings.read_text())["training"]["batch_size"] == 8


def test_a_test_set_of_ones_own_is_taken_as_it_is(tmp_path: Path) -> None:
    for part, count in (("train", 12), ("test", 3)):
        draw(tmp_path / "in" / part / "a", range(count))
        draw(tmp_path / "in" / part / "b", range(100, 100 + count))

    done = run(tmp_path / "in", tmp_path / "out")

    assert (done.train, done.test) == (24, 6)


def test_copies_of_an_image_stay_on_one_side(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a", range(10))
    draw(tmp_path / "in" / "b", range(100, 110))
    for path in list((tmp_path / "in" / "a").iterdir()):
        (path.parent / f"copy-{path.name}").write_bytes(path.read_bytes())

    run(tmp_path / "in", tmp_path / "out")

    official = tmp_path / "out" / "base"
    train = idx.read_images(official / "train-images-idx3-ubyte.gz")
    test = idx.read_images(official / "t10k-images-idx3-ubyte.gz")
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}


def test_classes_named_by_digits_keep_their_names(tmp_path: Path) -> None:
    for name, shades in (("7", range(10)), ("1", range(100, 110))):
        draw(tmp_path / "in" / name, shades)

    done = run(tmp_path / "in", tmp_path / "out")

    assert done.labels == ("1", "7")
    images = idx.read_images(tmp_path / "out" / "base" / "train-images-idx3-ubyte.gz")
    labels = idx.read_labels(tmp_path / "out" / "base" / "train-labels-idx1-ubyte.gz")
    assert set(images[labels == 0][:, 0, 0]) <= set(range(100, 110))


def test_every_damaged_file_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a", range(10))
    draw(tmp_path / "in" / "b", range(100, 110))
    (tmp_path / "in" / "a" / "broken.png").write_bytes(b"no image")
    (tmp_path / "in" / "b" / "notes.txt").write_text("no image")

    with pytest.raises(DataRefused) as refused:
        run(tmp_path / "in", tmp_path / "out")

    assert [reason.partition(":")[0] for reason in refused.value.reasons] == [
        str(tmp_path / "in" / "a" / "broken.png"),
        str(tmp_path / "in" / "b" / "notes.txt"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_class_with_too_few_images_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a", range(10))
    draw(tmp_path / "in" / "b", range(100, 103))

    with pytest.raises(DataRefused, match="class b has 2 images to train on and 1 to test on"):
        run(tmp_path / "in", tmp_path / "out")


def test_a_single_class_and_an_output_that_exists_are_usage_errors(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a", range(10))
    with pytest.raises(PrepareError, match="a folder of PNG or JPEG files for each class"):
        run(tmp_path / "in", tmp_path / "out")
    draw(tmp_path / "in" / "A", range(10))
    with pytest.raises(PrepareError, match="must differ by letters or digits"):
        run(tmp_path / "in", tmp_path / "out")
    with pytest.raises(PrepareError, match="is there already"):
        run(tmp_path / "in", tmp_path / "in")


def test_more_classes_than_a_byte_can_number_are_a_usage_error(tmp_path: Path) -> None:
    for number in range(257):
        (tmp_path / "in" / f"class {number}").mkdir(parents=True)
    with pytest.raises(PrepareError, match="has 257 classes; 256 are the most"):
        run(tmp_path / "in", tmp_path / "out")
