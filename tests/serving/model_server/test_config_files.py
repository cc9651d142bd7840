"""The text files that operators write for TensorFlow Serving parse here unchanged."""

from pathlib import Path

import pytest

from serving.model_server.config import (
    check_model_config,
    read_text_proto,
    single_model_config,
)
from serving.model_server.config_protos import BatchingParameters, MonitoringConfig, SSLConfig
from serving.model_server.errors import Code, ServingError


def test_batching_parameters_of_the_guides_are_read(tmp_path: Path) -> None:
    file = tmp_path / "batching.config"
    file.write_text(
        """
        max_batch_size { value: 128 }
        batch_timeout_micros { value: 0 }
        max_enqueued_batches { value: 1000000 }
        num_batch_threads { value: 8 }
        allowed_batch_sizes: [ 64, 128 ]
        thread_pool_name { value: "shared" }
        pad_variable_length_inputs: true
        enable_large_batch_splitting { value: true }
        max_execution_batch_size { value: 64 }
        """
    )
    parameters = read_text_proto(file, BatchingParameters())
    assert parameters.max_batch_size.value == 128
    assert list(parameters.allowed_batch_sizes) == [64, 128]
    assert parameters.thread_pool_name.value == "shared"
    assert parameters.enable_large_batch_splitting.value


def test_a_monitoring_config_is_read(tmp_path: Path) -> None:
    file = tmp_path / "monitoring.config"
    file.write_text('prometheus_config { enable: true, path: "/metrics" }')
    config = read_text_proto(file, MonitoringConfig())
    assert (config.prometheus_config.enable, config.prometheus_config.path) == (True, "/metrics")


def test_an_ssl_config_holds_pem_texts(tmp_path: Path) -> None:
    file = tmp_path / "ssl.config"
    file.write_text(
        'server_key: "-----BEGIN KEY-----\\nabc\\n-----END KEY-----\\n"\n'
        'server_cert: "line one\\n"\n  "line two\\n"\n'
        'custom_ca: ""\nclient_verify: true\n'
    )
    config = read_text_proto(file, SSLConfig())
    assert config.server_key.splitlines()[1] == "abc"
    assert config.server_cert == "line one\nline two\n"
    assert config.client_verify


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (None, Code.NOT_FOUND, "No such file or directory"),
        (b"prometheus_config { enabled: true }", Code.INVALID_ARGUMENT, "enabled"),
        (b"\xff\xfe", Code.INVALID_ARGUMENT, "Invalid protobuf file"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, code: Code, message: str
) -> None:
    file = tmp_path / "monitoring.config"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ServingError) as refusal:
        read_text_proto(file, MonitoringConfig())
    assert refusal.value.code == code
    assert message in refusal.value.message
    assert str(file) in refusal.value.message


@pytest.mark.parametrize("base_path", ["/models/m", "//[m", "file:///m", "gs://[m"])
def test_a_base_path_is_absolute_or_has_a_scheme_whatever_else_it_holds(base_path: str) -> None:
    check_model_config(single_model_config("m", base_path), None)
