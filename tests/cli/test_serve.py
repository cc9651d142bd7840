"""`runner.py serve`, as far as it comes without a server."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.serve import app
from pipeline.settings.errors import UsageError


def test_a_uri_is_not_served_but_said_how(tmp_path: Path) -> None:
    bucket = "gs://bucket/models/shop"
    arguments = ["--set", f"push.destination={bucket}", "--workdir", str(tmp_path)]
    with pytest.raises(
        UsageError, match=f"tensorflow_model_server with --model_base_path={bucket}"
    ):
        CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_an_empty_directory_is_answered_with_what_fills_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nothing has been pushed to .*; `.* run --workdir"):
        CliRunner().invoke(app, ["--workdir", str(tmp_path)], catch_exceptions=False)
