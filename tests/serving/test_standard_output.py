"""Text that others wrote is told, whatever it holds, and ends no program."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.standard_output import take_any_text
from tests.conftest import ROOT

STRICT = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}


@pytest.mark.parametrize(
    ("encoding", "text", "written"),
    [
        ("utf-8", "caf\udce9 é", "caf\\udce9 é".encode()),
        ("ascii", "café", b"caf\\xe9"),
    ],
)
def test_what_the_encoding_does_not_have_is_escaped(
    monkeypatch: pytest.MonkeyPatch, encoding: str, text: str, written: bytes
) -> None:
    file = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(file, encoding, errors="strict"))
    take_any_text()
    print(text, end="", flush=True)
    assert file.getvalue() == written


def ended(*command: str | bytes | Path) -> subprocess.CompletedProcess[str]:
    """How a program ended whose standard output takes nothing but UTF-8."""
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=STRICT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_model_server_that_cannot_start_says_why_in_any_bytes() -> None:
    ending = ended("-m", "serving.model_server", b"--model_base_path=/caf\xe9")
    assert ending.returncode == 255
    assert ending.stdout.startswith("Failed to start server. Error: INVALID_ARGUMENT: ")
    assert "Traceback" not in ending.stderr


def test_the_command_line_names_a_folder_of_any_bytes(tmp_path: Path) -> None:
    workdir = os.fsencode(tmp_path) + b"/caf\xe9"
    ending = ended(ROOT / "runner.py", "models", "list", "--workdir", workdir)
    assert ending.returncode == 2
    assert "caf\\udce9" in ending.stderr
    assert "Traceback" not in ending.stderr
