"""How this program was called, so that the commands it suggests work when they are pasted."""

import os
import shlex
import sys
from pathlib import Path

from pipeline.config import DEFAULT_WORKDIR


def command(arguments: str, workdir: Path | None = None) -> str:
    """Returns a command line of this program, called as it was called itself.

    Args:
        arguments: the verb and what follows, quoted for a shell.
        workdir: is named if it is not the default one.
    """
    place = (
        f" --workdir {shlex.quote(str(workdir))}" if workdir not in (None, DEFAULT_WORKDIR) else ""
    )
    return f"{_program()} {arguments}{place}"


def _program() -> str:
    script = sys.argv[0]
    if Path(script).name != "runner.py":
        return "python runner.py"
    if "UV" not in os.environ:
        return f"python {shlex.quote(script)}"
    # Set by `uv run`, whose users need not have this interpreter on their PATH.
    direct = script.startswith(("./", "/")) and os.access(script, os.X_OK)
    return shlex.quote(script) if direct else f"uv run {shlex.quote(script)}"
