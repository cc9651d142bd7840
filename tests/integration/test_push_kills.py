"""SIGKILL at random moments of pushes: what is left is complete, and the next push cleans up."""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from serving.versions.publish import PushStatus, publish
from serving.versions.record import Pushed
from serving.versions.store import Version, VersionStore
from tests.integration.soak_results import write_result

_PUSH_FOREVER = """
import os, sys
from pathlib import Path
from serving.versions import settling
from serving.versions.publish import publish
from serving.versions.record import Pushed
from serving.versions.prune import prune
from serving.versions.store import VersionStore
settling.SETTLE_SECONDS = 0.0
base, work = Path(sys.argv[1]), Path(sys.argv[2])
store = VersionStore(base)
for number in range(1000):
    model = work / f"model-{number}"
    (model / "variables").mkdir(parents=True)
    for index in range(12):
        (model / "variables" / f"{index}").write_bytes(os.urandom(100_000))
    (model / "saved_model.pb").write_bytes(os.urandom(1000))
    if number == 0:
        print("pushing", flush=True)
    publish(store, model, Pushed(run_id=f"{number}"))
    prune(store, keep=3)
"""


class Reader(threading.Thread):
    """Looks for new versions as a server does, and looks into them at once."""

    def __init__(self, base: Path) -> None:
        super().__init__(daemon=True)
        self.incomplete: list[str] = []
        self.seen: set[int] = set()
        self._store = VersionStore(base)
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.is_set():
            for version in self._store.served():
                if version.number in self.seen:
                    continue
                self.seen.add(version.number)
                # Retention may take it away while it is read; what is gone is not half there.
                if not self._is_complete(version) and Path(str(version.directory)).exists():
                    self.incomplete.append(str(version))

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def _is_complete(self, version: Version) -> bool:
        try:
            return self._store.is_intact(version)
        except FileNotFoundError:
            return False


def kill_pushes(folder: Path, kills: int) -> dict[str, int]:
    """Kills that many pushes and returns what was seen; fails when a version is incomplete."""
    base = folder / "serving"
    base.mkdir()
    randomness = random.Random(7)
    reader = Reader(base)
    reader.start()
    leftovers = 0
    for number in range(kills):
        work = folder / f"work-{number}"
        process = subprocess.Popen(
            [sys.executable, "-c", _PUSH_FOREVER, str(base), str(work)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"pushing\n"
        time.sleep(randomness.uniform(0, 0.15))
        process.kill()
        process.wait()
        process.stdout.close()
        leftovers += any(name.startswith((".staging", ".removing")) for name in _names(base))
    reader.stop()
    assert reader.incomplete == []

    store = VersionStore(base)
    served = store.served()
    assert all(store.is_intact(version) for version in served)
    outcome = publish(store, _model(folder), Pushed())
    assert outcome.status is PushStatus.PUSHED
    assert outcome.version > max((version.number for version in served), default=0)
    assert [name for name in _names(base) if name.startswith(".")] == [".versions"]
    return {"kills": kills, "left something": leftovers, "versions seen": len(reader.seen)}


def _names(base: Path) -> list[str]:
    return sorted(path.name for path in base.iterdir())


def _model(folder: Path) -> Path:
    model = folder / "last"
    model.mkdir()
    (model / "saved_model.pb").write_text("last")
    return model


@pytest.mark.integration
def test_a_killed_push_leaves_no_incomplete_version(tmp_path: Path) -> None:
    kill_pushes(tmp_path, kills=8)


@pytest.mark.soak
def test_200_killed_pushes_leave_no_incomplete_version(tmp_path: Path) -> None:
    write_result("push_kills", kill_pushes(tmp_path, kills=200))
