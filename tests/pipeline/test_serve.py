"""`runner.py serve`, as far as it comes without a server."""

import io
from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.errors import UsageError
from pipeline.serve import Address, serving


def test_a_uri_is_not_served_but_said_how(tmp_path: Path) -> None:
    bucket = "gs://bucket/models/shop"
    config = load_config(overrides=[f"push.destination={bucket}"], workdir=tmp_path)
    with (
        pytest.raises(UsageError, match=f"tensorflow_model_server with --model_base_path={bucket}"),
        serving(config, Address("127.0.0.1", 8500, 8501), io.StringIO()),
    ):
        pytest.fail("it is served")
