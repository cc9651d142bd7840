"""One real run on the sample, shared by all tests that look at what a run leaves behind."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

from runs.result import RunResult

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    """`uv run pytest` says so to every process; the programs under test are started by Python."""
    os.environ.pop("UV", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time limit is for tests that hang; those of the soak tier take as long as they take."""
    for item in items:
        if item.get_closest_marker("soak") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(0))


def run_runner(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs `python runner.py` with these arguments, as a user does."""
    return subprocess.run(
        [sys.executable, str(ROOT / "runner.py"), *arguments], capture_output=True, text=True
    )


@dataclass(frozen=True)
class SmokeRun:
    """A finished run of `--preset smoke` and the arguments that make an identical one."""

    workdir: Path
    arguments: tuple[str, ...]
    process: subprocess.CompletedProcess[str]

    @property
    def result(self) -> RunResult:
        return RunResult.model_validate_json(self.process.stdout)

    @property
    def serving_dir(self) -> Path:
        return self.workdir / "serving" / "fashion_mnist"


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> SmokeRun:
    """`python runner.py --preset smoke` through all nodes; its workdir is not to be changed."""
    workdir = tmp_path_factory.mktemp("smoke") / "var"
    arguments = ("--preset", "smoke", "--workdir", str(workdir), "--model-server", "embedded")
    return SmokeRun(workdir, arguments, run_runner(*arguments, "--json"))


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of a user that its system does not know, in a container started with a number."""
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> NoReturn:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
