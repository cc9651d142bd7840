"""Every step of the recorded life of a model under one base path, replayed in order."""

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.integration

CONFORMANCE = Path(__file__).parents[1] / "serving" / "conformance"
RECORDED = json.loads((CONFORMANCE / "lifecycle.json").read_text())
ORDER = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
POLLS = 2.5

Status = list[tuple[str, str, str, str]]


class BasePath:
    """A model base path, and the ways versions come and go under it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()

    def publish(self, name: str) -> None:
        shutil.copytree(CONFORMANCE / "models" / "half_plus" / "1", self.path / "tmp-new")
        (self.path / "tmp-new").rename(self.path / name)

    def publish_corrupt(self, name: str) -> None:
        self.publish(".corrupt")
        file = self.path / ".corrupt" / "saved_model.pb"
        file.write_bytes(file.read_bytes()[:1000])
        (self.path / ".corrupt").rename(self.path / name)

    def add_other_folders(self) -> None:
        for name in (".hidden", ".99", "latest", "7.tmp", "v6"):
            shutil.copytree(CONFORMANCE / "models" / "half_plus" / "1", self.path / name)

    def delete(self, name: str) -> None:
        shutil.rmtree(self.path / name)

    def delete_all(self) -> None:
        """The newest last: without it, and with others, a server that looks just then goes back."""
        versions = [child for child in self.path.iterdir() if child.name.isdigit()]
        for child in sorted(versions, key=lambda child: int(child.name)):
            shutil.rmtree(child)


STEPS: dict[str, Callable[[BasePath], None]] = {
    "version 5 appears (atomic rename)": lambda base: base.publish("5"),
    "version 5 deleted": lambda base: base.delete("5"),
    "hidden and non-numeric dirs appear": lambda base: base.add_other_folders(),
    "corrupt version 8 appears": lambda base: base.publish_corrupt("8"),
    "good version 9 appears after corrupt 8": lambda base: base.publish("9"),
    "empty version dir 10 appears": lambda base: (base.path / "10").mkdir(),
    "version 11": lambda base: base.publish("11"),
    "all versions deleted": lambda base: base.delete_all(),
    "version 12 after empty": lambda base: base.publish("12"),
    "lower version 3 appears": lambda base: base.publish("3"),
    "zero-padded 013 appears": lambda base: base.publish("013"),
}


def test_the_recorded_life_of_a_model_is_lived_again(
    start_model_server: Any, tmp_path: Path
) -> None:
    base = BasePath(tmp_path / "half")
    base.publish("1")
    server = start_model_server(
        "--model_name=half",
        f"--model_base_path={base.path}",
        "--max_num_load_retries=1",
        "--load_retry_interval_micros=1000000",
    )
    first, *steps, ending = RECORDED
    before = follow(server, final_status(first, base), patience=60)[-1]
    assert [step["step"] for step in steps] == list(STEPS)
    for step in steps:
        STEPS[step["step"]](base)
        wanted = final_status(step, base)
        seen = follow(server, wanted, patience=60, stay=POLLS if wanted == before else 0)
        check_transitions(step, before, seen)
        before = seen[-1]
    assert server.stop() == ending["exit_code_on_SIGTERM"]


def status(server: Any) -> Status:
    answer = requests.get(f"{server.url}/v1/models/half", timeout=60)
    return [
        (
            item["version"],
            item["state"],
            item["status"]["error_code"],
            item["status"]["error_message"],
        )
        for item in answer.json()["model_version_status"]
    ]


def follow(server: Any, wanted: Status, patience: float, stay: float = 0) -> list[Status]:
    """The statuses seen, one entry per change, until `wanted` is reached (and `stay` over)."""
    started = time.monotonic()
    seen: list[Status] = []
    while True:
        now = status(server)
        if not seen or seen[-1] != now:
            seen.append(now)
        elapsed = time.monotonic() - started
        if now == wanted and elapsed >= stay:
            return seen
        assert elapsed < patience, f"wanted {wanted}, saw {seen}"
        time.sleep(0.01)


def final_status(step: dict[str, Any], base: BasePath) -> Status:
    _, (code, versions) = step["observed"][-1]
    assert code == 200
    return [
        (version, state, error, text.replace("$BASE", str(base.path)))
        for version, state, error, text in versions
    ]


def check_transitions(step: dict[str, Any], before: Status, seen: list[Status]) -> None:
    """States go forwards, and something is available whenever it was in the recording."""
    recorded = [versions for _, (_, versions) in step["observed"]]
    always_available = all(any(item[1] == "AVAILABLE" for item in entry) for entry in recorded)
    last = {item[0]: item[1] for item in before}
    for sample in seen:
        assert not always_available or any(item[1] == "AVAILABLE" for item in sample)
        for version, state, *_ in sample:
            old = last.get(version, "START")
            goes_on = ORDER.index(state) >= ORDER.index(old)
            assert goes_on or old == "END", (version, old, state)
            last[version] = state
