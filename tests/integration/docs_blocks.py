"""Runs the command blocks of a page of docs/ in order, as a reader would, and checks their output.

A page is read from top to bottom in one bash, in a copy of the repository:

- a `bash` block is run; a `text` block right after it is what it must print on standard output,
  where `...` stands for anything;
- a block with a `title="FILE"` is saved under that name first, as its reader is told to.

A comment above a block says what else is to be done with it: `<!-- test: fails -->` (it must end
with an error), `<!-- test: NAME -->` (a function of the test deals with it).
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

_BLOCK = re.compile(
    r"(?:^<!-- test: (?P<marker>.+?) -->\n)?"
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_TREE = (
    *("runner.py", "pyproject.toml", "cli", "orchestration", "reporting", "runs", "pipeline"),
    *("components", "data", "serving", "files"),
)
_BLOCK_SECONDS = 300


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: after the fence.
        text: what is inside.
        title: the name of the file that it is, or empty.
        marker: what the comment above it says, or empty.
        line: where it begins on the page.
        expected: what it prints, `...` being anything; None: that is not said.
    """

    language: str
    text: str
    title: str
    marker: str
    line: int
    expected: str | None = None


def read_blocks(page: str) -> list[Block]:
    """Returns the blocks of a page, each output with the block that prints it."""
    blocks: list[Block] = []
    previous_end = 0
    for match in _BLOCK.finditer(page):
        values = match.groupdict(default="")
        line = page.count("\n", 0, match.start()) + 1
        block = Block(values["language"], values["text"], values["title"], values["marker"], line)
        follows = not page[previous_end : match.start()].strip()
        if block.language == "text" and blocks and follows:
            last = blocks.pop()
            block = Block(last.language, last.text, last.title, last.marker, last.line, block.text)
        blocks.append(block)
        previous_end = match.end()
    return blocks


class Shell:
    """One bash that goes through a page; standard error goes to a file."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._scripts = folder.parent / "shell"
        self._scripts.mkdir()
        self.errors = self._scripts / "stderr"
        with self.errors.open("wb") as errors:
            self._process = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                cwd=folder,
                env={**os.environ, **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def run(self, text: str, may_fail: bool = False) -> tuple[int, str]:
        """Runs commands up to the first that fails; returns its exit code and what was printed.

        Args:
            text: the commands; what they set and start is there for later ones.
            may_fail: a failure does not end the shell, and what they set is lost.

        Raises:
            TimeoutError: after five minutes.
        """
        script = self._scripts / "block.sh"
        script.write_text(text)
        done = "-- done --"
        assert self._process.stdin
        assert self._process.stdout
        run = f"set -eo pipefail; source {script} < /dev/null"
        command = f"( {run} ); code=$?" if may_fail else f"{run}; code=$?; set +eo pipefail"
        self._process.stdin.write(f"{command}; printf '\\n%s %s\\n' '{done}' $code\n")
        self._process.stdin.flush()
        overdue = threading.Timer(_BLOCK_SECONDS, self.close)
        overdue.start()
        lines: list[str] = []
        for line in self._process.stdout:
            if line.startswith(done):
                overdue.cancel()
                return int(line.split()[-1]), "".join(lines)
            lines.append(line)
        if not overdue.is_alive():
            raise TimeoutError(f"no end after {_BLOCK_SECONDS} s of:\n{text}")
        overdue.cancel()
        return self._process.wait(), "".join(lines)

    def close(self) -> None:
        """Stops the shell and what it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(10)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


@contextmanager
def repository_copy(folder: Path) -> Iterator[tuple[Path, Shell]]:
    """A copy of what the pages' commands use, and a shell in it with this environment active."""
    tree = folder / "repository"
    tree.mkdir()
    for name in _TREE:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, tree)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    shell = Shell(tree, environment)
    try:
        yield tree, shell
    finally:
        shell.close()


def run_page(
    page: Path,
    tree: Path,
    shell: Shell,
    replacements: Mapping[str, str],
    markers: Mapping[str, Callable[[Block], bool]],
) -> int:
    """Runs all blocks of a page.

    Args:
        page: the Markdown file.
        tree: the folder that the shell is in.
        shell: runs the blocks.
        replacements: what is different here, such as ports.
        markers: by the comment above a block; they return whether it is to be run as well.

    Returns:
        How many blocks were run.

    Raises:
        AssertionError: a block does not do what the page says.
    """
    count = 0
    for block in read_blocks(page.read_text()):
        text = _replaced(block.text, replacements)
        where = f"{page.name}, line {block.line}"
        if block.title:
            (tree / block.title).parent.mkdir(parents=True, exist_ok=True)
            (tree / block.title).write_text(text)
            continue
        fails = block.marker == "fails"
        if block.marker and not fails and not markers[block.marker](block):
            continue
        if block.language != "bash":
            continue
        code, output = shell.run(text, may_fail=fails)
        count += 1
        said = f"{where} ended with {code}:\n{text}\n{output}\n{shell.errors.read_text()[-3000:]}"
        assert (code != 0) == fails, said
        if block.expected is not None:
            wanted = _replaced(block.expected, replacements)
            assert _matches(wanted, output), f"{where} printed:\n{output}\nnot:\n{wanted}\n{said}"
    return count


def _replaced(text: str, replacements: Mapping[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


def _matches(expected: str, output: str) -> bool:
    # White space is left out: servers and tables differ in it.
    wanted, printed = ("".join(text.split()) for text in (expected, output))
    pattern = ".*?".join(re.escape(part) for part in wanted.split("..."))
    return re.fullmatch(pattern, printed) is not None
