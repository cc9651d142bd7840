"""TFRecord files stand for folders of pictures, or are refused by name."""

import io
import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from PIL import Image

from data.refusal import DataRefused, FileProblem
from pipeline.tf_records import as_folder


def picture(shade: int, file_format: str = "PNG") -> bytes:
    encoded = io.BytesIO()
    Image.new("L", (8, 8), shade).save(encoded, file_format)
    return encoded.getvalue()


def example(**values: bytes | int | float) -> bytes:
    features = tf.train.Features()
    for name, value in values.items():
        feature = features.feature[name.replace("__", "/")]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.float_list.value.append(value)
    return tf.train.Example(features=features).SerializeToString()


def write(file: Path, *records: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    compression = "GZIP" if file.suffix == ".gz" else ""
    with tf.io.TFRecordWriter(str(file), compression) as writer:
        for record in records:
            writer.write(record)
    return file


def laid_out(path: Path) -> dict[str, bytes]:
    with as_folder(path) as folder:
        return {
            str(file.relative_to(folder)): file.read_bytes()
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }


def refusal(path: Path) -> list[str]:
    with pytest.raises(DataRefused) as refused, as_folder(path):
        pass
    return refused.value.reasons


def test_pictures_keep_their_bytes_and_lie_in_the_folder_of_their_class(tmp_path: Path) -> None:
    png, jpeg = picture(10), picture(20, "JPEG")
    file = write(
        tmp_path / "fashion-train.tfrecord-00000-of-00001",
        example(image=png, label=3),
        example(image=jpeg, label=b"ankle boot", other=1.5),
    )
    assert laid_out(file) == {
        f"3/{file.name}-000000.png": png,
        f"ankle boot/{file.name}-000001.jpg": jpeg,
    }


def test_folders_of_train_and_test_and_compressed_files_are_taken(tmp_path: Path) -> None:
    write(tmp_path / "train" / "a.tfrecord.gz", example(image=picture(1), label=b"cat"))
    write(tmp_path / "test" / "data_tfrecord-00000-of-00002.gz", example(image=picture(2), label=0))
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / ".DS_Store").write_bytes(b"")
    assert list(laid_out(tmp_path)) == [
        "test/0/data_tfrecord-00000-of-00002.gz-000000.png",
        "train/cat/a.tfrecord.gz-000000.png",
    ]


def test_the_names_of_tf_slim_are_known_and_a_name_goes_before_a_number(tmp_path: Path) -> None:
    both = example(image__encoded=picture(1), image__class__text=b"cat", image__class__label=7)
    number = example(image__encoded=picture(2), image__class__label=7)
    file = write(tmp_path / "slim.tfrecords", both, number)
    assert list(laid_out(file)) == [
        "7/slim.tfrecords-000001.png",
        "cat/slim.tfrecords-000000.png",
    ]


def test_a_label_becomes_a_folder_that_any_system_can_have(tmp_path: Path) -> None:
    labels = (b"T-shirt/top", b"C\\D", b"a\nb", "cafe\u0301".encode())
    file = write(tmp_path / "a.tfrecord", *(example(image=picture(1), label=n) for n in labels))
    found = {name.rpartition("/")[0] for name in laid_out(file)}
    assert found == {"T-shirt_top", "C_D", "a_b", "caf\u00e9"}


@pytest.mark.parametrize("label", [b".net", b"Thumbs.db", b"lost+found", b"~$x", b"x" * 300])
def test_a_label_whose_folder_would_be_passed_over_is_refused(tmp_path: Path, label: bytes) -> None:
    file = write(tmp_path / "a.tfrecord", example(image=picture(1), label=label))
    assert refusal(file) == [
        f"{file}, record 0: its label {label[:80].decode()!r} is no name of a folder that is seen: "
        "rename it"
    ]


def test_two_labels_that_would_become_one_folder_are_refused(tmp_path: Path) -> None:
    labels = (b"a/b", "\u00e9".encode(), b"a_b", "e\u0301".encode())
    file = write(tmp_path / "a.tfrecord", *(example(image=picture(1), label=n) for n in labels))
    assert refusal(file) == [
        f"{file}, record 2: its label 'a_b' and 'a/b' become one folder: rename one of the two"
    ]


def test_folders_above_the_files_are_no_classes(tmp_path: Path) -> None:
    for split in ("Split-eval", "Split-train"):
        write(tmp_path / split / "data.tfrecord", example(image=picture(1), label=1))
    one, other = tmp_path / "Split-eval", tmp_path / "Split-train"
    assert refusal(tmp_path) == [
        f"{tmp_path}: has TFRecord files in {one}, {other}: they are to lie in one folder, or in "
        "train and test; or name one of these"
    ]
    assert list(laid_out(one)) == ["1/data.tfrecord-000000.png"]
    shutil.rmtree(one)
    assert list(laid_out(tmp_path)) == ["1/data.tfrecord-000000.png"]


def test_hidden_folders_are_passed_over_and_linked_ones_are_not(tmp_path: Path) -> None:
    write(tmp_path / "in" / ".cache" / "a.tfrecord", example(image=picture(1), label=1))
    write(tmp_path / "elsewhere" / "b.tfrecord", example(image=picture(2), label=2))
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "round").symlink_to(tmp_path / "in")
    assert list(laid_out(tmp_path / "in")) == ["2/b.tfrecord-000000.png"]


def test_anything_else_stays_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(picture(1))
    for path in (tmp_path, tmp_path / "cat" / "1.png", tmp_path / "missing"):
        with as_folder(path) as folder:
            assert folder == path


def test_every_record_that_is_unsound_is_named(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.tfrecord",
        example(image=picture(1), label=1),
        b"\xff\xff",
        example(label=1),
        example(image=5, label=1),
        example(image=picture(1)),
        example(image=picture(1), label=0.5),
        example(image=picture(1), label=b"../up"),
        example(image=picture(1), label=b".."),
        example(image=picture(1), label=b"\xff"),
    )
    no_picture = "has no encoded picture in the feature image"
    no_class = "has no number and no name of a class in the feature label"
    no_name = "is no name of a folder that is seen: rename it"
    assert refusal(file) == [
        f"{file}, record 1: is no tf.Example",
        f"{file}, record 2: {no_picture}",
        f"{file}, record 3: {no_picture}",
        f"{file}, record 4: {no_class}",
        f"{file}, record 5: {no_class}",
        f"{file}, record 6: its label '../up' {no_name}",
        f"{file}, record 7: its label '..' {no_name}",
        f"{file}, record 8: its label is no text",
    ]


def test_damaged_empty_and_mixed_files_are_named(tmp_path: Path) -> None:
    record = example(image=picture(1), label=1)
    cut = write(tmp_path / "cut.tfrecord", record, record)
    cut.write_bytes(cut.read_bytes()[:-5])
    empty = write(tmp_path / "empty.tfrecord")
    no_gzip = tmp_path / "plain.tfrecord.gz"
    no_gzip.write_bytes(b"plain")
    beside = tmp_path / "picture.png"
    beside.write_bytes(picture(1))
    assert refusal(tmp_path) == [
        f"{beside}: it lies beside TFRecord files",
        f"{cut}: it is damaged behind 1 records",
        f"{empty}: it has no records",
        f"{no_gzip}: it is damaged behind 0 records",
    ]
    (tmp_path / "linked").mkdir()
    link = tmp_path / "linked" / "broken.tfrecord"
    link.symlink_to("/nowhere")
    assert refusal(tmp_path / "linked") == [f"{link}: it is damaged behind 0 records"]


def test_what_is_refused_of_the_pictures_is_named_by_the_records(tmp_path: Path) -> None:
    write(tmp_path / "shards" / "a.tfrecord", example(image=picture(10), label=b"cat"))

    def refuse(folder: Path) -> None:
        file = next(folder.rglob("a.tfrecord-*"))
        raise DataRefused([FileProblem(str(file.parent), f"as {file}"), f"{folder}: no dogs"], [3])

    shards = tmp_path / "shards"
    with pytest.raises(DataRefused) as refused, as_folder(shards) as folder:
        refuse(folder)
    (problem,) = refused.value.files
    assert problem.file == str(shards / "cat")
    assert problem.reason.startswith(f"as {shards / 'cat' / 'a.tfrecord-000000'}")
    assert refused.value.reasons == [str(problem), f"{shards}: no dogs"]
    assert refused.value.blamed_spans == [3]

    with pytest.raises(ValueError, match=f"^{shards} has one class$"), as_folder(shards) as folder:
        raise ValueError(f"{folder} has one class")
