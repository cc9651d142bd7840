"""Recorded requests: what is written, and that whatever is still whole can be read again."""

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow_serving.apis import prediction_log_pb2

from serving.model_server.request_log_records import classify_log, predict_log, regress_log
from serving.model_server.signatures import Classification
from serving.traffic.files import recordings
from serving.traffic.origin import CANARY, Origin, origin_of
from serving.traffic.reading import newest, read
from serving.traffic.recording import TrafficRecorder

LABELS = ("ant", "bee")


def png(value: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def example(picture: bytes, name: str = "image") -> bytes:
    feature = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture])),
        "note": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"no picture"])),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def strings(*values: bytes) -> np.ndarray:
    return np.array(values, object)


@pytest.fixture
def recorder(tmp_path: Path) -> Any:
    recorder = TrafficRecorder(tmp_path, "m", 1 << 20, 1 << 22)
    yield recorder
    recorder.close()


def ask(recorder: TrafficRecorder, request_id: str = "r", picture: bytes | None = None) -> None:
    log = predict_log({"image_bytes": strings(picture or png())}, {})
    assert recorder.record(log, "predict_bytes", Origin(request_id, 7, time=1e9))


def test_time_variant_version_and_request_id_are_recorded(
    recorder: TrafficRecorder, tmp_path: Path
) -> None:
    origin = Origin("4f2a/1", 7, CANARY, 1_700_000_000)
    recorder.record(predict_log({"image_bytes": strings(png())}, {}), "predict_bytes", origin)
    [picture] = newest(tmp_path, "m")
    assert picture.origin == origin
    assert (picture.signature, picture.picture, picture.answer) == ("predict_bytes", png(), None)


def test_any_reader_of_prediction_logs_reads_a_recording(
    recorder: TrafficRecorder, tmp_path: Path
) -> None:
    ask(recorder)
    [file] = recordings(tmp_path, "m")
    [record] = tf.compat.v1.io.tf_record_iterator(str(file))
    log = prediction_log_pb2.PredictionLog.FromString(record)
    assert log.predict_log.request.inputs["image_bytes"].string_val == [png()]
    assert log.log_metadata.model_spec.version.value == 7
    assert log.log_metadata.timestamp_secs == 1_000_000_000
    assert origin_of(log).request_id == "r"


def outputs(rows: int) -> dict[str, np.ndarray]:
    probabilities = np.float32([[0.25, 0.75]] * rows)
    return {"probabilities": probabilities, "label": strings(*[b"bee"] * rows)}


@pytest.mark.parametrize(
    ("log", "pictures"),
    [
        (predict_log({"image_bytes": strings(png(1), png(2))}, outputs(2)), [png(1), png(2)]),
        (predict_log({"examples": strings(example(png(1)))}, outputs(1)), [png(1)]),
        (
            predict_log({"images": np.float32(np.full((1, 4, 4, 1), 9))}, outputs(1)),
            [np.full((4, 4, 1), 9)],
        ),
        (
            predict_log(
                {"images": np.uint8(np.full((1, 4, 4, 1), 9))},
                {"probabilities": np.float32([[0.25, 0.75]])},
            ),
            [np.full((4, 4, 1), 9)],
        ),
        (
            classify_log(
                [example(png(3), "photo")],
                Classification(strings(b"bee", b"ant")[None], np.float32([[0.75, 0.25]])),
            ),
            [png(3)],
        ),
    ],
    ids=["bytes", "examples", "pixels", "bare_pixels", "classify"],
)
def test_every_signature_gives_its_pictures_and_answers(
    recorder: TrafficRecorder, tmp_path: Path, log: Any, pictures: list[Any]
) -> None:
    recorder.record(log, "", Origin("r", 1))
    found = newest(tmp_path, "m", labels=LABELS)
    assert [each.row for each in found] == list(range(len(pictures)))
    for each, expected in zip(found, pictures, strict=True):
        assert np.array_equal(each.picture, expected)
        assert each.answer
        assert (each.answer.label, each.answer.confidence) == ("bee", 0.75)
        assert each.signature == "serving_default"


def test_a_record_that_was_cut_off_costs_only_itself(
    recorder: TrafficRecorder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        ask(recorder, str(number))
    [file] = recordings(tmp_path, "m")
    file.write_bytes(file.read_bytes()[:-5])
    with caplog.at_level(logging.WARNING):
        assert [each.name for each in newest(tmp_path, "m")] == ["0", "1"]
    assert not caplog.records, "every file ends so while it is being written"


def test_a_damaged_file_costs_its_rest_and_a_line(
    recorder: TrafficRecorder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "m-20250101T000000-1-1.tfrecord").write_bytes(b"no TFRecord" * 100)
    ask(recorder)
    with caplog.at_level(logging.WARNING):
        assert [each.name for each in newest(tmp_path, "m")] == ["r"]
    [line] = caplog.messages
    assert "m-20250101T000000-1-1.tfrecord is not read to its end" in line


def test_what_holds_no_picture_is_counted_and_skipped(
    recorder: TrafficRecorder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for log in (
        regress_log([example(png())], np.float32([1])),
        predict_log({"x": np.float32([1])}, {}),
        predict_log({"image_bytes": strings(b"no picture")}, {}),
        predict_log({"a": strings(png()), "b": strings(png())}, {}),
    ):
        recorder.record(log, "s", Origin("odd", 1))
    ask(recorder)
    with caplog.at_level(logging.WARNING):
        assert [each.name for each in newest(tmp_path, "m")] == ["r"]
    assert "4 records are no requests with pictures" in caplog.text


def test_the_newest_come_from_the_end_over_the_borders_of_files(tmp_path: Path) -> None:
    recorder = TrafficRecorder(tmp_path, "m", 300, 1 << 20)
    for number in range(9):
        log = predict_log({"image_bytes": strings(png(number))}, {})
        recorder.record(log, "", Origin(str(number), 1, time=1e9 + number))
    recorder.close()
    assert len(recordings(tmp_path, "m")) > 2
    assert [each.name for each in newest(tmp_path, "m", 4)] == ["5", "6", "7", "8"]
    assert len(newest(tmp_path, "m", 100)) == 9
    assert newest(tmp_path, "m", 0) == []


def test_a_recording_keeps_to_its_size(tmp_path: Path) -> None:
    recorder = TrafficRecorder(tmp_path, "m", 2_000, 6_000)
    for number in range(200):
        ask(recorder, str(number))
    recorder.close()
    assert sum(path.stat().st_size for path in recordings(tmp_path, "m")) <= 6_000
    assert newest(tmp_path, "m")[-1].name == "199"


def test_recording_goes_on_after_retention_removed_the_file(
    recorder: TrafficRecorder, tmp_path: Path
) -> None:
    ask(recorder, "before")
    recordings(tmp_path, "m")[0].unlink()
    ask(recorder, "after")
    assert [each.name for each in newest(tmp_path, "m")] == ["after"]


def test_models_with_names_that_begin_alike_are_kept_apart(
    recorder: TrafficRecorder, tmp_path: Path
) -> None:
    ask(recorder)
    other = TrafficRecorder(tmp_path, "m-2", 1 << 20, 1 << 22)
    ask(other, "other")
    other.close()
    assert [each.name for each in newest(tmp_path, "m")] == ["r"]


def test_the_log_of_a_server_without_an_edge_is_read(tmp_path: Path) -> None:
    log = predict_log({"image_bytes": strings(png())}, {})
    path = tmp_path / "m-20250101T000000-1.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())
    [picture] = read(path)
    assert picture.origin == Origin("", 0, "", 0.0)
