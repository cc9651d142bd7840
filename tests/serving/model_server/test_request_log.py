"""Request logging: a sampled share of the answered requests, in the format of warmup records."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.model_server.errors import Code, ServingError
from serving.model_server.loader import LoaderOptions, SavedModelLoader
from serving.model_server.metrics import Metrics
from serving.model_server.request_log import SampledRequestLog
from serving.model_server.servable import Servable
from serving.model_server.warmup import REQUESTS_FILE


def config(prefix: Path | str, rate: float = 1, kind: str = "") -> Any:
    text = f"""
        model_config_list {{ config {{
          name: "m" base_path: "/m" model_platform: "tensorflow"
          logging_config {{
            log_collector_config {{ type: "{kind}" filename_prefix: "{prefix}" }}
            sampling_config {{ sampling_rate: {rate} }} }} }} }}
    """
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def request_log(metrics: Metrics) -> SampledRequestLog:
    return SampledRequestLog(metrics, ["serve"])


def load(path: Path, metrics: Metrics, log: SampledRequestLog) -> Servable:
    options = LoaderOptions(config_pb2.ConfigProto(inter_op_parallelism_threads=-1))
    return SavedModelLoader(options, metrics, request_log=log).load("m", 1, path)


@pytest.fixture
def servable(conformance: Path, metrics: Metrics, request_log: SampledRequestLog) -> Any:
    path = conformance / "models" / "half_plus" / "1"
    loaded = load(path, metrics, request_log)
    yield loaded
    loaded.close()


def example() -> bytes:
    feature = {"x": tf.train.Feature(float_list=tf.train.FloatList(value=[2.0]))}
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def ask_everything(servable: Servable) -> None:
    servable.predict("", {"x": np.float32([2.0])}, ["y"])
    servable.classify("classify", [example()])
    servable.regress("regress", [example()])


def logged(folder: Path) -> list[Any]:
    return [
        prediction_log_pb2.PredictionLog.FromString(record)
        for file in sorted(folder.glob("requests-*"))
        for record in tf.compat.v1.io.tf_record_iterator(str(file))
    ]


def test_what_was_asked_and_answered_is_logged(
    servable: Servable, request_log: SampledRequestLog, metrics: Metrics, tmp_path: Path
) -> None:
    request_log.update(config(tmp_path / "requests"))
    ask_everything(servable)
    predicted, classified, regressed = logged(tmp_path)
    assert predicted.predict_log.request.inputs["x"].float_val == [2.0]
    assert predicted.predict_log.request.output_filter == ["y"]
    assert predicted.predict_log.response.outputs["y"].float_val == [3.0]
    assert predicted.predict_log.request.model_spec.signature_name == "serving_default"
    assert predicted.log_metadata.model_spec.version.value == 1
    assert predicted.log_metadata.saved_model_tags == ["serve"]
    [classes] = classified.classify_log.response.result.classifications
    assert classes.classes[0].score == 3.0
    [regression] = regressed.regress_log.response.result.regressions
    assert regression.value == 3.0
    assert regressed.regress_log.request.input.example_list.examples
    assert ':tensorflow:serving:request_log_count{model_name="m",status_code="OK"} 3' in (
        metrics.text()
    )


def test_a_log_is_a_warmup_file(
    servable: Servable,
    request_log: SampledRequestLog,
    metrics: Metrics,
    conformance: Path,
    tmp_path: Path,
) -> None:
    request_log.update(config(tmp_path / "requests"))
    ask_everything(servable)
    [file] = tmp_path.glob("requests-*")
    path = shutil.copytree(conformance / "models" / "half_plus" / "2", tmp_path / "2")
    (path / REQUESTS_FILE).parent.mkdir()
    shutil.copy(file, path / REQUESTS_FILE)
    load(path, metrics, request_log).close()
    assert len(logged(tmp_path)) == 3, "warmup itself is not logged"


@pytest.mark.parametrize(("rate", "least", "most"), [(0, 0, 0), (0.5, 50, 150), (1, 200, 200)])
def test_a_share_of_the_requests_is_logged(
    servable: Servable,
    request_log: SampledRequestLog,
    tmp_path: Path,
    rate: float,
    least: int,
    most: int,
) -> None:
    request_log.update(config(tmp_path / "requests", rate))
    for _ in range(200):
        servable.predict("", {"x": np.float32([2.0])})
    assert least <= len(logged(tmp_path)) <= most


def test_without_a_config_nothing_is_logged(
    servable: Servable, request_log: SampledRequestLog, tmp_path: Path
) -> None:
    request_log.update(config(tmp_path / "requests"))
    request_log.update(model_server_config_pb2.ModelServerConfig())
    ask_everything(servable)
    assert logged(tmp_path) == []


@pytest.mark.parametrize(
    ("wrong", "code", "message"),
    [
        (
            config("/p", kind="mystery"),
            Code.NOT_FOUND,
            "Cannot find LogCollector::Factory for type: mystery",
        ),
        (config(""), Code.INVALID_ARGUMENT, "logging_config: log_collector_config needs"),
        (config("/p", rate=2), Code.INVALID_ARGUMENT, "logging_config: sampling_rate must be"),
    ],
)
def test_a_wrong_logging_config_is_refused(
    request_log: SampledRequestLog, wrong: Any, code: Code, message: str
) -> None:
    with pytest.raises(ServingError) as refusal:
        request_log.update(wrong)
    assert refusal.value.code == code
    assert refusal.value.message.startswith(message)


def test_a_log_that_cannot_be_written_does_not_fail_the_request(
    servable: Servable, request_log: SampledRequestLog, metrics: Metrics
) -> None:
    request_log.update(config("/proc/nowhere/requests"))
    assert servable.predict("", {"x": np.float32([2.0])})["y"].tolist() == [3.0]
    assert 'request_log_count{model_name="m",status_code="UNKNOWN"} 1' in metrics.text()


def test_models_with_one_prefix_have_files_of_their_own(
    metrics: Metrics, request_log: SampledRequestLog, conformance: Path, tmp_path: Path
) -> None:
    both = config(tmp_path / "requests")
    other = both.model_config_list.config.add()
    other.CopyFrom(both.model_config_list.config[0])
    other.name = "other"
    request_log.update(both)
    path = conformance / "models" / "half_plus" / "1"
    loader = SavedModelLoader(
        LoaderOptions(config_pb2.ConfigProto()), metrics, request_log=request_log
    )
    for name in ("m", "other"):
        servable = loader.load(name, 1, path)
        servable.predict("", {"x": np.float32([2.0])})
        servable.close()
    assert len(list(tmp_path.glob("requests-*"))) == 2
    names = {record.predict_log.request.model_spec.name for record in logged(tmp_path)}
    assert names == {"m", "other"}


def test_what_cannot_be_made_a_record_does_not_fail_the_request(
    servable: Servable, request_log: SampledRequestLog, metrics: Metrics, tmp_path: Path
) -> None:
    request_log.update(config(tmp_path / "requests"))
    request_log.classify(servable, "classify", [b"\xff"], None)  # type: ignore[arg-type]
    assert 'request_log_count{model_name="m",status_code="UNKNOWN"} 1' in metrics.text()


def test_a_request_answered_after_the_end_does_not_touch_the_log(
    servable: Servable, request_log: SampledRequestLog, tmp_path: Path
) -> None:
    request_log.update(config(tmp_path / "requests"))
    servable.predict("", {"x": np.float32([2.0])})
    request_log.close()
    servable.predict("", {"x": np.float32([2.0])})
    assert len(logged(tmp_path)) == 1
