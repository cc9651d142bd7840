"""What Python compiles is kept where the environment says that it should not be, and only there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
import subprocess, sys
from pathlib import Path
from orchestration.bytecode import keep_bytecode
keep_bytecode(Path(sys.argv[1]), heaviest="heavy")
import heavy
if sys.argv[2:]:
    subprocess.run([sys.executable, "-c", "import heavier"], check=True)
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    for name in ("heavy", "heavier"):
        (folder / f"{name}.py").write_text("VALUE = 1\n")
    return folder


def run(sources: Path, *arguments: str, **environment: str) -> None:
    clean = {name: value for name, value in os.environ.items() if "BYTECODE" not in name}
    path = os.pathsep.join([str(sources), str(ROOT)])
    subprocess.run(
        [sys.executable, "-c", SCRIPT, str(sources.parent / "kept"), *arguments],
        env=clean | {"PYTHONPATH": path} | environment,
        check=True,
    )


def kept(sources: Path) -> set[str]:
    found = (sources.parent / "kept").rglob("*.pyc")
    return {path.name.partition(".")[0] for path in found} & {"heavy", "heavier"}


def test_byte_code_is_kept_away_from_the_sources_and_also_by_child_processes(sources: Path) -> None:
    run(sources, "child", PYTHONDONTWRITEBYTECODE="1")
    assert kept(sources) == {"heavy", "heavier"}
    assert not list(sources.rglob("*.pyc"))


def test_where_python_keeps_byte_code_by_itself_nothing_changes(sources: Path) -> None:
    run(sources)
    assert kept(sources) == set()
    assert [path.parent.name for path in sources.rglob("*.pyc")] == ["__pycache__"]


def test_packages_that_were_compiled_when_installed_are_read_as_they_are(sources: Path) -> None:
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(sources)], check=True)
    run(sources, "child", PYTHONDONTWRITEBYTECODE="1")
    assert kept(sources) == set()
