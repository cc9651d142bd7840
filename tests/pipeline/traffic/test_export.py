"""Recorded pictures are laid out for a person, and come back as a span."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from data.ingest import read_pictures
from pipeline.traffic.export import export_least_confident
from serving.traffic.origin import Origin
from serving.traffic.reading import Answer, RecordedPicture

CLASSES = ("T-shirt/top", "Trouser", "Bag")


def picture(value: int, name: str = "", size: int = 28) -> RecordedPicture:
    png = tf.io.encode_png(np.full((size, size, 1), value, np.uint8)).numpy()
    return RecordedPicture(Origin(name or f"r{value}", 1), 0, "predict_bytes", png, None)


def export(pictures: list[RecordedPicture], output: Path, count: int = 100) -> dict[str, int]:
    answers: list[Answer | None] = [
        Answer(CLASSES[place % 2], 0.5 + place / 100) for place in range(len(pictures))
    ]
    return export_least_confident(pictures, answers, count, output, CLASSES).classes


def taken_in(folder: Path) -> None:
    """Reads the folder as `data ingest` does, which refuses it for one unsound picture."""
    read_pictures(folder, CLASSES, lambda content: None, 25_000_000)


def test_the_least_confident_are_taken_in_by_ingest_as_they_were_moved(tmp_path: Path) -> None:
    output = tmp_path / "to_label"
    written = export([picture(value) for value in range(10)], output, 4)
    assert written == {"T-shirt/top": 2, "Trouser": 2, "Bag": 0}
    (output / "Trouser" / "r1.png").rename(output / "Bag" / "r1.png")
    taken_in(output)
    moved = {path.name: path.parent.name for path in output.rglob("*.png")}
    assert moved == {
        "r0.png": "T-shirt_top",
        "r1.png": "Bag",
        "r2.png": "T-shirt_top",
        "r3.png": "Trouser",
    }


def test_pictures_of_any_size_are_written_as_the_model_sees_them(tmp_path: Path) -> None:
    pixels = RecordedPicture(
        Origin("pixels", 1), 1, "images", np.full((28, 28, 1), 7.4, np.float32), None
    )
    export([picture(1, "large", 90), pixels], tmp_path / "out")
    taken_in(tmp_path / "out")
    shapes = [tf.io.decode_png(path.read_bytes()) for path in sorted(tmp_path.rglob("*.png"))]
    assert [(each.shape, int(tf.reduce_max(each))) for each in shapes] == [
        ((28, 28, 1), 1),
        ((28, 28, 1), 7),
    ]
    assert (tmp_path / "out" / "Trouser" / "pixels.1.png").is_file()


def test_a_picture_that_was_asked_often_is_written_once(tmp_path: Path) -> None:
    assert sum(export([picture(5)] * 3, tmp_path / "out").values()) == 1


@pytest.mark.parametrize("name", ["../../etc/x", "a b", "..", "/", ".hidden", "x" * 300])
def test_request_ids_that_are_no_file_names_stay_inside(tmp_path: Path, name: str) -> None:
    export([picture(1, name), picture(2, name), picture(3, name)], tmp_path / "out")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 3
    assert {path.parent.parent for path in files} == {tmp_path / "out"}
    assert not [path for path in files if path.name.startswith(".")]


def test_a_folder_with_somebodys_work_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out" / "Bag").mkdir(parents=True)
    with pytest.raises(FileExistsError):
        export([picture(1)], tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_has_no_answer_or_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    broken = RecordedPicture(Origin("x", 1), 0, "s", b"\x89PNG no", None)
    answers = [Answer("Bag", 0.1), None, Answer("unknown", 0.2)]
    done = export_least_confident(
        [broken, picture(1), picture(2)], answers, 9, tmp_path / "out", CLASSES
    )
    assert sum(done.classes.values()) == 0
