"""What a server tells TensorFlow's sessions: what is quick, and what the operator wrote."""

from pathlib import Path

import pytest
from tensorflow.core.protobuf.rewriter_config_pb2 import RewriterConfig

from serving.machine import usable_cpus
from serving.model_server.flags import parse_flags
from serving.model_server.server import _session_config

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
