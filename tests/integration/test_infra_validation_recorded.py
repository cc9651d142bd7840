"""A candidate is asked what production asked, word for word."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.infra_validator.blessing import Blessing
from components.infra_validator.spec import RecordedRequests
from components.infra_validator.validation import validate
from serving.model_server.request_log_records import classify_log, predict_log
from serving.traffic.origin import Origin
from serving.traffic.recording import TrafficRecorder
from tests.tiny_models import SIZE, GreyClassifier, grey_examples, grey_spec, save

pytestmark = pytest.mark.integration


def png(size: int) -> bytes:
    return bytes(tf.io.encode_png(np.full((size, size, 1), 99, np.uint8)).numpy())


def validated(folder: Path, sizes: list[int]) -> Blessing:
    """Validates a sound model with recorded requests for pictures of these sizes."""
    recorder = TrafficRecorder(folder / "recorded", "live", 1 << 20, 1 << 22)
    for size in sizes:
        log = predict_log({"image_bytes": np.array([png(size)] * 2, object)}, {})
        recorder.record(log, "predict_bytes", Origin("r", 4))
    other = predict_log({"image_bytes": np.array([png(SIZE)], object)}, {})
    recorder.record(other, "a_signature_of_long_ago", Origin("r", 1))
    if SIZE in sizes:
        recorder.record(classify_log(grey_examples(3), None), "classify", Origin("r", 4))
    recorder.close()
    recorded = RecordedRequests(directory=folder / "recorded", model="live", count=50)
    spec = grey_spec(recorded=recorded, examples=5, work_dir=folder)
    model = save(GreyClassifier(), folder / "model")
    return validate(model, grey_examples(5), spec, folder / "stamped")


def test_recorded_requests_are_answered_but_for_what_no_model_can_read(tmp_path: Path) -> None:
    blessing = validated(tmp_path, [SIZE, SIZE + 1, SIZE])
    assert blessing.blessed, blessing.reasons
    assert blessing.measurements.recorded_requests == 3


def test_a_model_that_refuses_all_that_production_asks_is_refused(tmp_path: Path) -> None:
    blessing = validated(tmp_path, [SIZE + 1] * 3)
    assert not blessing.blessed
    assert blessing.reasons == ["embedded model server: All 3 recorded requests are refused."]
