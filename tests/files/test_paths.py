"""What a path means that somebody wrote."""

from pathlib import Path

import pytest

from files.paths import resolved


def test_a_home_and_dots_are_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolved(Path("~/a/../b")) == tmp_path / "b"


def test_a_home_that_nobody_knows_is_no_path(nobody: None) -> None:
    with pytest.raises(ValueError, match="home"):
        resolved(Path("~/models"))
