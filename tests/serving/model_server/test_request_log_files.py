"""A request log's files: bounded in size and number, never shared, never overwritten."""

import os
from pathlib import Path

import pytest
import tensorflow as tf

from serving.model_server import request_log_files
from serving.model_server.request_log_files import RequestLogFiles

RECORD = b"x" * 84  # 100 bytes in a file


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("log-*"), key=lambda path: int(path.stem.rpartition("-")[2]))


def records(path: Path) -> list[bytes]:
    return list(tf.compat.v1.io.tf_record_iterator(str(path)))


def test_a_full_file_is_followed_by_another(tmp_path: Path) -> None:
    files = RequestLogFiles(f"{tmp_path}/log", max_file_bytes=250, max_total_bytes=10_000)
    for _ in range(5):
        assert files.write(RECORD)
    files.close()
    assert [len(records(path)) for path in files_of(tmp_path)] == [2, 2, 1]


def test_a_record_larger_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    files = RequestLogFiles(f"{tmp_path}/log", max_file_bytes=10, max_total_bytes=10_000)
    assert files.write(RECORD)
    assert files.write(RECORD)
    assert [len(records(path)) for path in files_of(tmp_path)] == [1, 1]


def test_the_oldest_files_go_when_all_are_too_large_together(tmp_path: Path) -> None:
    earlier = tmp_path / "log-20200101T000000-7.tfrecord"
    earlier.write_bytes(b"x" * 500)
    os.utime(earlier, (0, 0))
    foreign = [tmp_path / "log-book.tfrecord", tmp_path / "catalog-20200101T000000-7.tfrecord"]
    for path in foreign:
        path.write_bytes(b"x" * 5000)
    files = RequestLogFiles(f"{tmp_path}/log", max_file_bytes=200, max_total_bytes=600)
    for number in range(20):
        files.write(b"%84d" % number)
    kept = files_of_process(tmp_path)
    assert not earlier.exists()
    assert all(path.exists() for path in foreign)
    assert sum(path.stat().st_size for path in kept) <= 600
    assert records(kept[-1])[-1] == b"%84d" % 19


def files_of_process(folder: Path) -> list[Path]:
    paths = folder.glob(f"log-*-{os.getpid()}-*.tfrecord")
    return sorted(paths, key=lambda path: int(path.stem.rpartition("-")[2]))


def test_a_file_that_another_log_writes_stays(tmp_path: Path) -> None:
    slow = RequestLogFiles(f"{tmp_path}/log", 200, 400)
    slow.write(b"slow")
    [path] = files_of(tmp_path)
    busy = RequestLogFiles(f"{tmp_path}/log", 200, 400)
    for _ in range(20):
        busy.write(RECORD)
    slow.write(b"slow")
    assert records(path) == [b"slow", b"slow"]


def test_what_is_written_after_the_end_is_dropped(tmp_path: Path) -> None:
    files = RequestLogFiles(f"{tmp_path}/log", 10_000, 10_000)
    files.write(RECORD)
    files.close()
    assert not files.write(RECORD)
    [path] = files_of(tmp_path)
    assert records(path) == [RECORD]


def test_a_log_that_fails_is_tried_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").write_text("in the way")
    files = RequestLogFiles(f"{tmp_path}/folder/log", 10_000, 10_000)
    with pytest.raises(OSError):
        files.write(RECORD)
    assert not files.write(RECORD), "not at once"
    (tmp_path / "folder").unlink()
    monkeypatch.setattr(request_log_files.time, "monotonic", lambda: float("inf"))
    assert files.write(RECORD)
    assert len(files_of(tmp_path / "folder")) == 1


@pytest.mark.parametrize("prefix", ["plain", "folder/", "a.b+c"])
def test_any_prefix_makes_names(tmp_path: Path, prefix: str) -> None:
    files = RequestLogFiles(f"{tmp_path}/{prefix}", 100, 10_000)
    files.write(RECORD)
    files.write(RECORD)
    written = list(tmp_path.rglob("*.tfrecord"))
    assert len(written) == 2
    assert all(str(path).startswith(f"{tmp_path}/{prefix}-") for path in written)
