"""True labels that arrive later are joined with what was answered."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from data.refusal import DataRefused
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from pipeline.traffic.live_labels import live_accuracy, read_labels, take_in
from serving.model_server.request_log_records import predict_log
from serving.traffic.origin import Origin
from serving.traffic.recording import TrafficRecorder

CLASSES = ("T-shirt/top", "Bag")


@pytest.mark.parametrize(
    "text",
    [
        "request_id,label\na,Bag\nb,t-shirt_top\n",
        "\ufefflabel,note,request_id\r\nBag,,a\r\nT-shirt/top,x,b\r\n",
        '{"request_id": "a", "label": "Bag"}\n\n{"request_id": "b", "label": "T-shirt/top"}',
        '{"request_id": "a", "label": "Bag", "note": "\u2028"}\n'
        '{"request_id": "b", "label": "T-shirt/top"}',
    ],
    ids=["csv", "spreadsheet", "jsonl", "jsonl with other ends of lines"],
)
def test_both_forms_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels").write_text(text)
    assert read_labels(tmp_path / "labels", CLASSES) == {"a": "Bag", "b": "T-shirt/top"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"request_id,label\na,Sock\n", "line 2: no class is called Sock"),
        (b"request_id,label\n,Bag\n", "line 2 has no request_id"),
        (b"id,truth\na,Bag\n", "line 2 has no request_id"),
        (b'{"request_id": "a"}\n{oops\n', "line 1 has no label"),
        (b"request_id,label\na,Bag\na,T-shirt/top\n", "line 3: a is T-shirt/top, and Bag before"),
        (b'{"request_id": "a", "label": null}', "line 1 has no label"),
        (b'{"request_id": "a", "label": ' + b"[" * 100_000 + b"}", "line 1 has no request_id"),
        (b"request_id,label\na," + b"1" * 5000 + b"\n", "line 2: no class is called 111"),
        (b"", "holds no labels"),
        (b"\xff\xfe\x00", "neither CSV nor JSON lines"),
    ],
)
def test_what_is_not_sound_is_a_sentence_with_its_line(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(DataRefused) as refusal:
        read_labels(tmp_path / "labels", CLASSES)
    assert sentence in refusal.value.reasons[0]


@pytest.mark.parametrize(
    ("classes", "label", "wanted"),
    [
        (("C", "C++"), "C", "C"),
        (("C", "C++"), "C++", "C++"),
        (("C", "C++"), "c", None),
        (("0", "1"), 0, "0"),
        (("1", "0"), "1", "1"),
        (CLASSES, 1, "Bag"),
        (CLASSES, "bag", "Bag"),
        (CLASSES, False, None),
    ],
)
def test_a_label_stands_for_the_class_that_a_folder_of_that_name_would(
    tmp_path: Path, classes: tuple[str, ...], label: object, wanted: str | None
) -> None:
    file = tmp_path / "labels"
    file.write_text(json.dumps({"request_id": "a\u2028b", "label": label}, ensure_ascii=False))
    if wanted is None:
        with pytest.raises(DataRefused, match="no class is called"):
            read_labels(file, classes)
    else:
        assert read_labels(file, classes) == {"a\u2028b": wanted}


def test_a_label_may_be_said_twice(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("request_id,label\na,Bag\na,bag\n")
    assert read_labels(tmp_path / "labels", CLASSES) == {"a": "Bag"}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A workdir with a recording: version 3 answered Bag to a, Bag and Dress to b."""
    config = load_config(workdir=tmp_path)
    recorder = TrafficRecorder(config.recordings_dir, "fashion_mnist", 1 << 20, 1 << 20)
    png = tf.io.encode_png(np.zeros((28, 28, 1), np.uint8)).numpy()
    for request_id, labels in (("a", [b"Bag"]), ("b", [b"Bag", b"Dress"])):
        log = predict_log(
            {"image_bytes": np.array([png] * len(labels), object)},
            {
                "label": np.array(labels, object),
                "probabilities": np.full((len(labels), 10), 0.1, np.float32),
            },
        )
        recorder.record(log, "predict_bytes", Origin(request_id, 3))
    recorder.close()
    return config


def test_the_live_accuracy_is_that_of_labelled_pictures(config: Config) -> None:
    assert take_in(config, {"a": "Bag", "b": "Coat", "b.1": "Dress", "z": "Bag"}) == ["z"]
    [found] = live_accuracy(config.traffic_dir)
    assert (found.version, found.labelled, found.right) == (3, 3, 2)


def test_a_corrected_label_takes_the_place_of_the_first(config: Config) -> None:
    take_in(config, {"a": "Coat"})
    take_in(config, {"a": "Bag"})
    [found] = live_accuracy(config.traffic_dir)
    assert (found.labelled, found.right) == (1, 1)


def test_a_damaged_line_costs_the_label_that_it_held(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    take_in(config, {"a": "Bag"})
    with (config.traffic_dir / "labels.jsonl").open("ab") as file:
        file.write(b'\xff\xfe\n{"request_id": "b"\n')
    take_in(config, {"b": "Coat"})
    [found] = live_accuracy(config.traffic_dir)
    assert (found.labelled, found.right) == (2, 1)
    assert "line 2 is damaged" in caplog.text


def test_labels_outlive_the_recording(config: Config) -> None:
    take_in(config, {"a": "Bag"})
    for path in config.recordings_dir.iterdir():
        path.unlink()
    assert take_in(config, {"a": "Coat"}) == ["a"]
    [found] = live_accuracy(config.traffic_dir)
    assert found.right == 1
