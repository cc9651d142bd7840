"""What each command imports, and so costs before it does anything: docs/performance.md has the why.

Every command is run in a process of its own, whose imports Python lists itself.
"""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TENSORFLOW_AND_TFX = {"tensorflow", "keras", "tfx", "tfx_bsl", "apache_beam", "ml_metadata"}
FIRST_PARTY = (
    *("cli", "orchestration", "reporting", "runs", "pipeline"),
    *("components", "data", "serving", "files", "benchmarks"),
)


def imported(*command: str) -> set[str]:
    """The top-level packages that a command imports; the command must succeed."""
    process = subprocess.run(
        [sys.executable, "-X", "importtime", *command], cwd=ROOT, capture_output=True, text=True
    )
    lines = re.findall(r"^import time:.*\| +(\S+)$", process.stderr, re.MULTILINE)
    rest = [line for line in process.stderr.splitlines() if not line.startswith("import time:")]
    assert process.returncode == 0, "\n".join(rest)
    return {name.partition(".")[0] for name in lines}


@pytest.mark.parametrize(
    "verb",
    [
        *("run", "tune", "serve", "predict", "report", "schedule", "models", "data", "doctor"),
        *("compile", "kubeflow", "clean"),
    ],
)
def test_help_of_a_verb_imports_nothing_that_takes_long(verb: str) -> None:
    heavy = {*TENSORFLOW_AND_TFX, "numpy", "pandas", "matplotlib", "PIL", "grpc"}
    assert not imported("runner.py", verb, "--help") & heavy


def test_versions_are_listed_without_tensorflow(tmp_path: Path) -> None:
    found = imported("runner.py", "models", "list", "--workdir", str(tmp_path))
    assert "pydantic" in found
    assert not found & {*TENSORFLOW_AND_TFX, "numpy"}


def test_images_are_taken_in_without_tensorflow(tmp_path: Path) -> None:
    sample = ROOT / "data" / "sample" / "base"
    images = tmp_path / "new"
    images.mkdir()
    for part in ("images-idx3", "labels-idx1"):
        content = (sample / f"t10k-{part}-ubyte.gz").read_bytes()
        (images / f"{part}-ubyte.gz").write_bytes(content)
    found = imported("runner.py", "data", "ingest", str(images), "--workdir", str(tmp_path / "var"))
    assert (tmp_path / "var" / "data" / "spans" / "1").is_dir()
    assert not found & TENSORFLOW_AND_TFX


def test_a_node_is_looked_up_in_the_compiled_pipeline_before_tfx_is_imported() -> None:
    found = imported("-c", "import orchestration.node, orchestration.local")
    assert not found & TENSORFLOW_AND_TFX


@pytest.mark.parametrize(
    ("package", "banned"),
    [
        ("", {"tfx.v1", "tfx.components.v1", "tfx.orchestration.v1", "tfx.dsl.v1"}),
        ("serving", {"tfx", "tensorflow_transform", "apache_beam", "keras"}),
        ("data", {"tfx", "tensorflow", "apache_beam", "keras"}),
    ],
)
def test_no_module_names_a_package_that_its_users_need_not_wait_for(
    package: str, banned: set[str]
) -> None:
    folders = [ROOT / package] if package else [ROOT / each for each in FIRST_PARTY]
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    assert sources
    assert [
        os.fspath(path.relative_to(ROOT)) for path in sources if named_imports(path) & banned
    ] == []


def named_imports(path: Path) -> set[str]:
    """The absolute names that a module imports anywhere, and all packages above them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    parts = [name.split(".") for name in names]
    return {".".join(each[:count]) for each in parts for count in range(1, len(each) + 1)}
