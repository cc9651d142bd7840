"""What a path means that somebody wrote."""

from pathlib import Path

import pytest

from files.paths import resolved


def test_a_home_and_dots_are_written_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolved(Path("~/a/../b")) == tmp_path / "b"


def test_a_home_that_nobody_knows_is_named_as_what_cannot_be_used(nobody: None) -> None:
    with pytest.raises(NotADirectoryError, match="nothing says where that home is") as refused:
        resolved(Path("~/models"))
    assert refused.value.filename == "~/models"
