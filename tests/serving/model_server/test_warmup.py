"""Warmup files and what they do to a load (research F9)."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.model_server.errors import Code, ServingError
from serving.model_server.loader import LoaderOptions, SavedModelLoader
from serving.model_server.metrics import Metrics
from serving.model_server.servable import Servable
from serving.model_server.warmup import REQUESTS_FILE

Load = Callable[..., Servable]


def predict_log(x: Any = (1.0,), **fields: Any) -> Any:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = "whatever"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(x, **fields))
    return log


def example_logs() -> list[Any]:
    """One classify, regress and multi-inference record."""
    classify, regress, multi = (prediction_log_pb2.PredictionLog() for _ in range(3))
    classify.classify_log.request.model_spec.signature_name = "classify"
    regress.regress_log.request.model_spec.signature_name = "regress"
    for name in ("classify", "regress"):
        task = multi.multi_inference_log.request.tasks.add()
        task.model_spec.name = "m"
        task.model_spec.signature_name = name
        task.method_name = f"tensorflow/serving/{name}"
    for kind in (classify.classify_log, regress.regress_log, multi.multi_inference_log):
        features = kind.request.input.example_list.examples.add().features
        features.feature["x"].float_list.value.append(2.0)
    return [classify, regress, multi]


@pytest.fixture
def version(conformance: Path, tmp_path: Path) -> Path:
    return shutil.copytree(conformance / "models" / "half_plus" / "1", tmp_path / "1")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def load(version: Path, metrics: Metrics) -> Load:
    def loader(**options: Any) -> Servable:
        config = config_pb2.ConfigProto(inter_op_parallelism_threads=-1)
        loading = SavedModelLoader(LoaderOptions(config, **options), metrics)
        return loading.load("m", 1, version)

    return loader


def write(version: Path, records: Sequence[bytes]) -> Path:
    file = version / REQUESTS_FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        for record in records:
            writer.write(record)
    return file


def runs(metrics: Metrics) -> int:
    """How often a session ran for the model."""
    return sum(
        int(line.rpartition(" ")[2])
        for line in metrics.text().splitlines()
        if line.startswith(":tensorflow:serving:runtime_latency_count{")
    )


def test_a_version_without_warmup_requests_loads(load: Load, metrics: Metrics) -> None:
    load().close()
    assert runs(metrics) == 0


def test_every_record_is_replayed_as_often_as_asked(
    load: Load, version: Path, metrics: Metrics
) -> None:
    records = [predict_log().SerializeToString() for _ in range(2)]
    write(version, records)
    load(num_request_iterations_for_warmup=3).close()
    assert runs(metrics) == 6
    read = f':tensorflow:serving:model_warmup_records_read{{model_path="{version}",status="OK"}} 2'
    assert read in metrics.text()


def test_all_kinds_of_requests_are_replayed(load: Load, version: Path, metrics: Metrics) -> None:
    write(version, [log.SerializeToString() for log in example_logs()])
    load().close()
    assert runs(metrics) == 2
    assert ':tensorflow:serving:request_example_count_total{model="m"} 1' in metrics.text()


def test_warmup_can_be_switched_off(load: Load, version: Path, metrics: Metrics) -> None:
    write(version, [b"no prediction log"])
    load(enable_model_warmup=False).close()
    assert runs(metrics) == 0


def test_a_log_with_nothing_inside_is_skipped(load: Load, version: Path) -> None:
    write(version, [b"", predict_log().SerializeToString()])
    load().close()


def test_a_thousand_records_are_the_most(load: Load, version: Path) -> None:
    write(version, [b""] * 1000)
    load().close()
    file = write(version, [b""] * 1001)
    assert refusal_of(load) == (
        Code.INVALID_ARGUMENT,
        f"Number of warmup records exceeds the maximum (1000) at {file}",
    )


def refusal_of(load: Load) -> tuple[Code, str]:
    with pytest.raises(ServingError) as refusal:
        load()
    return refusal.value.code, refusal.value.message


def test_a_record_that_is_no_prediction_log_fails_the_load(load: Load, version: Path) -> None:
    write(version, [b"\xffno prediction log"])
    code, message = refusal_of(load)
    assert code == Code.INVALID_ARGUMENT
    assert message.startswith("Failed to parse warmup record: ")


def test_a_file_that_is_no_tfrecord_fails_the_load(load: Load, version: Path) -> None:
    file = write(version, [])
    file.write_bytes(b"this is not a TFRecord file at all")
    code, message = refusal_of(load)
    assert code == Code.DATA_LOSS
    assert message.endswith(". Please verify your warmup data is in TFRecord format.")


@pytest.mark.parametrize("kind", ["session_run_log", "predict_streamed_log"])
def test_kinds_that_cannot_be_replayed_fail_the_load(load: Load, version: Path, kind: str) -> None:
    log = prediction_log_pb2.PredictionLog()
    getattr(log, kind).SetInParent()
    write(version, [log.SerializeToString()])
    code, message = refusal_of(load)
    assert code == Code.UNIMPLEMENTED
    assert message.startswith("Unsupported log_type for warmup: ")


def test_a_request_that_fails_fails_the_load(load: Load, version: Path) -> None:
    write(version, [predict_log(True).SerializeToString()])
    assert refusal_of(load) == (
        Code.INVALID_ARGUMENT,
        "Expects arg[0] to be float but bool is provided",
    )
