"""Whatever ends a validation ends its server: SIGTERM, Ctrl-C and SIGKILL, on real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.tiny_models import GreyClassifier, save

pytestmark = pytest.mark.integration

# One process imports what each of its children then validates with, to import it once.
_VALIDATE = """
import os, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background jobs
from components.infra_validator.validation import validate
from tests.tiny_models import grey_examples, grey_spec
model, *folders = map(Path, sys.argv[1:])
examples = [b""]
children = []
for folder in folders:
    child = os.fork()
    if not child:
        spec = grey_spec(model_server="binary", work_dir=folder)
        validate(model, examples, spec, folder / "stamped")
        sys.exit(0)
    children.append(child)
print(*children, flush=True)
for child in children:
    os.waitpid(child, 0)
"""


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.05)


def test_no_way_out_leaves_a_server_behind(tmp_path: Path) -> None:
    model = save(GreyClassifier(), tmp_path / "model")
    program = tmp_path / "bin" / "tensorflow_model_server"
    program.parent.mkdir()
    # A server that never becomes AVAILABLE, so that the validation is in the middle of it.
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'import time; time.sleep(1000)'\n")
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
    folders = [tmp_path / number.name for number in signals]
    parent = subprocess.Popen(
        [sys.executable, "-c", _VALIDATE, str(model), *map(str, folders)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert parent.stdout is not None
        validations = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        wait_for(lambda: all(_server_of(validation) for validation in validations))
        servers = [_server_of(validation) for validation in validations]

        for number, validation in zip(signals, validations, strict=True):
            validation.send_signal(number)

        wait_for(lambda: not any(_is_alive(process) for process in [*validations, *servers]))
        left = {folder.name: list(folder.iterdir()) for folder in folders}
        assert left["SIGTERM"] == left["SIGINT"] == []
    finally:
        for process in psutil.Process(parent.pid).children(recursive=True):
            process.kill()
        parent.kill()
        parent.wait()


def _server_of(validation: psutil.Process) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        for child in validation.children():
            if "time.sleep(1000)" in " ".join(child.cmdline()):
                return child
    return None


def _is_alive(process: psutil.Process | None) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process is not None and process.status() != psutil.STATUS_ZOMBIE
    return False
