"""One run at a time on a workdir, whatever became of the one before."""

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from files import lock


def hold(workdir: Path, ready: Connection) -> None:
    with lock.exclusive(workdir):
        ready.send("held")
        signal.pause()


@pytest.fixture
def holder(tmp_path: Path):
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(tmp_path, theirs))
    process.start()
    assert ours.recv() == "held"
    yield process
    process.kill()
    process.join()


def test_a_second_run_is_told_who_holds_the_workdir(tmp_path: Path, holder) -> None:
    with (
        pytest.raises(lock.WorkdirBusy, match=f"another run \\(process {holder.pid}\\)"),
        lock.exclusive(tmp_path),
    ):
        pass


def test_the_lock_of_a_killed_run_does_not_block(tmp_path: Path, holder) -> None:
    holder.kill()
    holder.join()
    with lock.exclusive(tmp_path):
        assert (tmp_path / "run.lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_is_let_go_at_the_end(tmp_path: Path) -> None:
    for _ in range(2):
        with lock.exclusive(tmp_path):
            pass


def test_those_that_share_the_workdir_keep_out_whoever_wants_it_alone(tmp_path: Path) -> None:
    with (
        lock.shared(tmp_path),
        lock.shared(tmp_path),
        pytest.raises(lock.WorkdirBusy),
        lock.exclusive(tmp_path),
    ):
        pass
    with lock.exclusive(tmp_path), pytest.raises(lock.WorkdirBusy), lock.shared(tmp_path):
        pass
