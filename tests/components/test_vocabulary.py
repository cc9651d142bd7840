"""The classes that a SavedModel says it knows."""

from pathlib import Path

import pytest

from components.vocabulary import VOCABULARY_FILE, read_vocabulary, write_vocabulary


def test_what_is_written_is_read_in_the_same_order(tmp_path: Path) -> None:
    labels = ["Käfer", "ant", '"quoted", with comma', "bee"]
    write_vocabulary(tmp_path, labels)
    assert read_vocabulary(tmp_path) == read_vocabulary(str(tmp_path)) == labels


def test_a_model_that_does_not_say_has_none(tmp_path: Path) -> None:
    assert read_vocabulary(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"[", b'{"a": 1}', b"[1, 2]", b"\xff\xfe"])
def test_a_damaged_file_costs_its_content_and_a_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    write_vocabulary(tmp_path, ["ant"])
    (tmp_path / VOCABULARY_FILE).write_bytes(content)
    assert read_vocabulary(tmp_path) == []
    assert "is not a list of labels" in caplog.text
