"""docs/tutorial.md, as written, block by block."""

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from runs.exit_status import Status
from serving.launch.base import DEFAULT_IMAGE
from tests.conftest import SmokeRun
from tests.integration.conftest import free_port
from tests.integration.docs_blocks import (
    REPOSITORY,
    Block,
    read_blocks,
    repository_copy,
    run_page,
)

PAGE = REPOSITORY / "docs" / "tutorial.md"


def docker_options(command: str) -> set[str]:
    """The words of a `docker run`, each option with its value, whatever shell it is for."""
    words = shlex.split(command.replace("`\n", "").replace("\\\n", ""))
    assert words[:2] == ["docker", "run"]
    return {" ".join(words[2:])}


def runs(block: Block) -> bool:
    return block.text.startswith("docker run")


def test_docker_is_run_on_the_models_folder_with_the_pinned_image() -> None:
    (block,) = (
        block for block in read_blocks(PAGE.read_text()) if runs(block) and block.marker == "docker"
    )
    words = shlex.split(block.text)
    assert words[-1] == DEFAULT_IMAGE
    mount = dict(part.split("=") for part in words[words.index("--mount") + 1].split(","))
    assert mount["source"] == "$PWD/var/serving/fashion_mnist"
    name = words[words.index("-e") + 1].removeprefix("MODEL_NAME=")
    assert mount["target"] == f"/models/{name}"


def test_powershell_runs_the_same_container() -> None:
    blocks = [block for block in read_blocks(PAGE.read_text()) if runs(block)]
    assert [block.language for block in blocks] == ["bash", "powershell"]
    unix, windows = (docker_options(block.text) for block in blocks)
    assert unix == windows


def has_image() -> bool:
    if shutil.which("docker") is None:
        return False
    found = subprocess.run(["docker", "image", "inspect", DEFAULT_IMAGE], capture_output=True)
    return found.returncode == 0


@pytest.mark.integration
def test_every_block_of_the_tutorial_does_what_it_says(tmp_path: Path, smoke_run: SmokeRun) -> None:
    rest, grpc = free_port(), free_port()
    replacements = {
        "8501": str(rest),
        "8500": str(grpc),
        "runner.py serve": f"runner.py serve --rest-port {rest} --grpc-port {grpc}",
        "runner.py predict": f"runner.py predict --server localhost:{rest}",
    }
    with repository_copy(tmp_path) as (tree, shell):

        def train(block: Block) -> bool:
            """What this command pushes, the shared run has pushed already."""
            arguments = shlex.split(block.text)[2:]
            assert arguments == list(smoke_run.arguments[:2])
            assert smoke_run.result.status is Status.PUSHED
            shutil.copytree(smoke_run.workdir / "serving", tree / "var" / "serving")
            return False

        markers = {
            "setup": lambda block: False,  # this environment is active
            "train": train,
            "shown": lambda block: False,
            "docker": lambda block: has_image(),
            "powershell": lambda block: False,  # compared with bash's above
        }
        assert run_page(PAGE, tree, shell, replacements, markers) >= 17
