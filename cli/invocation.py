"""How this program was called, so that the commands it suggests work when they are pasted."""

import os
import shlex
import sys
from pathlib import Path

from pipeline.settings.paths import DEFAULT_WORKDIR


def command(arguments: str, workdir: Path | None = None) -> str:
    """Returns a command line of this program, called as it was called itself.

    The file of settings that it was given is given again, last: it may name model and workdir.

    Args:
        arguments: the verb and what follows, quoted for a shell.
        workdir: is named if it is not the default one.
    """
    place = (
        f" --workdir {shlex.quote(str(workdir))}" if workdir not in (None, DEFAULT_WORKDIR) else ""
    )
    return f"{_program()} {arguments}{place}{_settings_file()}"


def _settings_file() -> str:
    for position, word in enumerate(sys.argv):
        name, _, value = word.partition("=")
        if name == "--config":
            file = value or next(iter(sys.argv[position + 1 :]), "")
            return f" --config {shlex.quote(file)}"
    return ""


def _program() -> str:
    script = sys.argv[0]
    if Path(script).name != "runner.py":
        return "python runner.py"
    if "UV" not in os.environ:
        return f"python {shlex.quote(script)}"
    # Set by `uv run`, whose users need not have this interpreter on their PATH.
    direct = script.startswith(("./", "/")) and os.access(script, os.X_OK)
    return shlex.quote(script) if direct else f"uv run {shlex.quote(script)}"
