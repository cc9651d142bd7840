"""Suggested commands work the way this program was called."""

import sys
from pathlib import Path

import pytest

from cli.invocation import command
from pipeline.settings.paths import DEFAULT_WORKDIR


@pytest.mark.parametrize(
    ("script", "under_uv", "expected"),
    [
        ("runner.py", False, "python runner.py serve"),
        ("runner.py", True, "uv run runner.py serve"),
        ("../my code/runner.py", False, "python '../my code/runner.py' serve"),
        ("/usr/bin/pytest", False, "python runner.py serve"),
    ],
)
def test_a_command_is_called_as_this_program_was(
    script: str, under_uv: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [script])
    monkeypatch.delenv("UV", raising=False)
    if under_uv:
        monkeypatch.setenv("UV", "/usr/bin/uv")
    assert command("serve") == expected


def test_only_a_workdir_of_ones_own_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["runner.py"])
    monkeypatch.delenv("UV", raising=False)
    assert command("run", DEFAULT_WORKDIR) == "python runner.py run"
    assert command("run", Path("/my data")) == "python runner.py run --workdir '/my data'"


@pytest.mark.parametrize("given", [["--config", "my shop.toml"], ["--config=my shop.toml"]])
def test_the_file_of_settings_is_given_again(
    given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["runner.py", "run", *given, "--json"])
    monkeypatch.delenv("UV", raising=False)
    assert command("models list") == "python runner.py models list --config 'my shop.toml'"
