"""Keeps what Python compiled, so that no process compiles TensorFlow and TFX a second time."""

import os
import sys
from importlib.util import cache_from_source, find_spec
from pathlib import Path


def keep_bytecode(folder: Path | None = None, heaviest: str = "tensorflow") -> None:
    """Has this process, and those that it starts, keep byte code in a folder of its own.

    Does so only where Python was told not to write any beside the sources
    (`PYTHONDONTWRITEBYTECODE`, which images and build machines like to set) and the packages were
    not compiled when they were installed: every process then spends 10 s of processor time on
    compiling what it imports. The folder belongs to the virtual environment and goes with it;
    outside of one, and where it cannot be written, everything stays as it was.

    Args:
        folder: where to keep it; by default `bytecode` in the virtual environment.
        heaviest: a module that tells whether the packages are compiled.
    """
    if folder is None:
        if sys.prefix == sys.base_prefix:
            return
        folder = Path(sys.prefix) / "bytecode"
    if not sys.dont_write_bytecode or _is_compiled(heaviest):
        return
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(folder)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder)


def _is_compiled(module: str) -> bool:
    spec = find_spec(module)
    return bool(spec and spec.origin and Path(cache_from_source(spec.origin)).exists())
