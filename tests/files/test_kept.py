"""A damaged file costs what it held, and a line in the log."""

import json
from pathlib import Path

import pytest

from files.kept import read_kept, set_aside


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b'{"a": ', None], ids=repr)
def test_a_damaged_file_is_none_and_said_once(
    tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "kept.json"
    path.mkdir() if damage is None else path.write_bytes(damage)
    for _ in range(3):
        assert read_kept(path, json.loads) is None
    [line] = caplog.messages
    assert line.startswith(f"{path} is damaged and passed over: ")


def test_a_file_that_is_not_there_is_no_damage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_kept(tmp_path / "kept.json", json.loads) is None
    assert caplog.messages == []


def test_what_is_set_aside_is_kept_under_a_name_that_no_pattern_finds(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_bytes(b"\xff")
    assert set_aside(path).read_bytes() == b"\xff"
    assert list(tmp_path.glob("*.json")) == []
