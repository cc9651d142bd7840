"""Facts about files are remembered until a file changes, however it is disguised."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from files.memory import FileMemory


class Reader:
    """Finds out what a file says, and counts how often it had to look."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, path: Path) -> str:
        self.looks += 1
        return path.read_text()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "labels"
    path.write_text("one")
    return path


def remembering(file: Path, **settings: float) -> FileMemory:
    """A memory of an earlier run that read the file."""
    path = file.with_name("memory.json")
    memory = FileMemory(path, **settings)
    memory.fact("text", file, Path.read_text)
    memory.save()
    return FileMemory(path, **settings)


def wait_for_the_clock() -> None:
    """Until a change gets another time than one that was made before, a few ticks of a kernel."""
    time.sleep(0.05)


def test_a_file_that_did_not_change_is_not_read_again(file: Path) -> None:
    wait_for_the_clock()
    reader = Reader()
    assert remembering(file, settled_seconds=0).fact("text", file, reader) == "one"
    assert reader.looks == 0


def edit_in_place(file: Path) -> None:
    file.write_text("two")


def edit_and_set_the_time_back(file: Path) -> None:
    before = file.stat()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def replace_with_the_same_time(file: Path) -> None:
    before = file.stat()
    other = file.with_name("other")
    other.write_text("two")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)


@pytest.mark.parametrize(
    "change", [edit_in_place, edit_and_set_the_time_back, replace_with_the_same_time]
)
def test_a_changed_file_of_the_same_size_is_noticed(
    file: Path, change: Callable[[Path], None]
) -> None:
    wait_for_the_clock()
    memory = remembering(file, settled_seconds=0)
    wait_for_the_clock()
    change(file)
    assert memory.fact("text", file, Path.read_text) == "two"


def test_what_was_written_a_moment_ago_is_read_again(file: Path) -> None:
    memory = remembering(file)
    reader = Reader()
    assert memory.fact("text", file, reader) == "one"
    assert memory.fact("text", file, reader) == "one"
    assert reader.looks == 2


def test_each_kind_of_fact_is_found_out_by_itself(file: Path) -> None:
    wait_for_the_clock()
    memory = remembering(file, settled_seconds=0)
    assert memory.fact("lines", file, lambda path: path.read_text().split()) == ["one"]
    assert memory.fact("text", file, Path.read_text) == "one"


def test_forgetting_has_every_file_read_again_and_remembered_anew(file: Path) -> None:
    wait_for_the_clock()
    memory = remembering(file, settled_seconds=0)
    memory.forget()
    reader = Reader()
    memory.fact("text", file, reader)
    memory.fact("text", file, reader)
    assert reader.looks == 1


def test_files_that_nobody_asks_for_any_more_are_forgotten(file: Path) -> None:
    wait_for_the_clock()
    memory = remembering(file, settled_seconds=0)
    other = file.with_name("other")
    other.write_text("new")
    wait_for_the_clock()
    memory.fact("text", other, Path.read_text)
    memory.save()
    kept = file.with_name("memory.json").read_text()
    assert str(other) in kept
    assert str(file) not in kept


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"{", b"[]", b'{"x": 1}', b'{"x": {"stamp": [1]}}']
)
def test_a_damaged_memory_is_an_empty_one(file: Path, content: bytes) -> None:
    path = file.with_name("memory.json")
    path.write_bytes(content)
    assert FileMemory(path).fact("text", file, Path.read_text) == "one"


def test_a_memory_that_cannot_be_kept_is_a_line_in_the_log(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wait_for_the_clock()
    memory = FileMemory(file / "memory.json", settled_seconds=0)
    assert memory.fact("text", file, Path.read_text) == "one"
    memory.save()
    assert "cannot be written" in caplog.text


def test_a_file_that_is_gone_is_no_memory(file: Path) -> None:
    wait_for_the_clock()
    memory = remembering(file, settled_seconds=0)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        memory.fact("text", file, Path.read_text)
