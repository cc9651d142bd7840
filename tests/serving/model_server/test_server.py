"""What a server tells TensorFlow's sessions: what is quick, and what the operator wrote."""

from pathlib import Path

import pytest
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

from serving.machine import usable_cpus
from serving.model_server.errors import ServingError
from serving.model_server.flags import parse_flags
from serving.model_server.metrics import Metrics
from serving.model_server.server import _batching, _session_config

MODEL = ("--model_name=m", "--model_base_path=/models/m")


def test_a_graph_is_rewritten_once_and_every_usable_processor_computes() -> None:
    config = _session_config(parse_flags(MODEL))
    rewriting = config.graph_options.rewrite_options
    assert rewriting.meta_optimizer_iterations == RewriterConfig.ONE
    assert config.intra_op_parallelism_threads == usable_cpus()


@pytest.mark.parametrize(
    ("written", "iterations", "threads"),
    [
        (
            "graph_options { rewrite_options { meta_optimizer_iterations: TWO } }",
            RewriterConfig.TWO,
            usable_cpus(),
        ),
        ("intra_op_parallelism_threads: 7", RewriterConfig.ONE, 7),
    ],
)
def test_what_the_operator_wrote_into_the_session_config_file_is_kept(
    tmp_path: Path, written: str, iterations: int, threads: int
) -> None:
    (tmp_path / "session.pbtxt").write_text(written)
    flag = f"--tensorflow_session_config_file={tmp_path / 'session.pbtxt'}"
    config = _session_config(parse_flags([*MODEL, flag]))
    assert config.graph_options.rewrite_options.meta_optimizer_iterations == iterations
    assert config.intra_op_parallelism_threads == threads


@pytest.mark.parametrize(
    "written",
    [
        "intra_op_parallelism_threads: -1",
        "intra_op_parallelism_threads: 2147483647",
        "inter_op_parallelism_threads: 2147483647",
    ],
)
def test_threads_that_would_end_tensorflow_are_refused_in_the_session_config_file_too(
    tmp_path: Path, written: str
) -> None:
    (tmp_path / "session.pbtxt").write_text(written)
    flag = f"--tensorflow_session_config_file={tmp_path / 'session.pbtxt'}"
    with pytest.raises(ServingError, match=written.partition(":")[0]):
        _session_config(parse_flags([*MODEL, flag]))


@pytest.mark.parametrize("count", [-1, 2**40])
def test_a_number_of_batch_threads_that_cannot_be_is_refused(tmp_path: Path, count: int) -> None:
    file = tmp_path / "batching.pbtxt"
    file.write_text(f"num_batch_threads {{ value: {count} }}")
    flags = parse_flags([*MODEL, "--enable_batching", f"--batching_parameters_file={file}"])
    with pytest.raises(ServingError, match="num_batch_threads"):
        _batching(flags, Metrics())
