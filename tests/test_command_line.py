"""The command line as a whole: every verb has examples and --json, errors are one sentence."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from cli.app import app
from tests.conftest import ROOT, run_runner

COLOUR = re.compile(rb"\x1b\[[\d;]*3\dm")


def commands(group: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    """Yields every verb below a group, with its full name."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


VERBS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_has_examples_that_call_it(verb: str) -> None:
    shown = VERBS[verb].epilog or ""
    lines = [line.strip() for line in shown.splitlines() if "runner.py" in line]
    assert any(line.startswith(f"python runner.py {verb}") for line in lines), shown


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_gives_its_result_as_json(verb: str) -> None:
    assert "--json" in [name for option in VERBS[verb].params for name in option.opts]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nope"], "runner.py: No such command 'nope'; `python runner.py --help` shows"),
        (["serve", "--rest-port", "0"], "`python runner.py serve --help` shows what there is"),
        (["predict"], "Missing argument"),
        (["predict", "x.jpg", "--version", "1", "--label", "a"], "--version or --label, not both"),
        (["predict", "x.jpg", "--server", "http://["], "--server: http://[ is not an address"),
        (["predict", "x.jpg", "--server", "ftp://x", "--grpc"], "--server: ftp://x is not an addr"),
        (["models", "diff", "1"], "`python runner.py models diff --help`"),
        (["models", "list", "--server", "127.0.0.1:1"], "no model server answers at"),
        (["data", "fetch", "--workdir", str(ROOT / "LICENSE")], "Not a directory"),
        (["models", "list", "--workdir", str(ROOT / "LICENSE")], "Not a directory"),
        (
            ["traffic", "export", "--output", "~nosuchuser/x"],
            "'~nosuchuser/x': Could not determine",
        ),
        (["compile", "airflow", "--output", "w\udce9"], "'w\\udce9': it is not UTF-8"),
        (["kubeflow", "schedule", "list"], "give --host or the setting kubeflow.host"),
    ],
)
def test_bad_usage_is_one_sentence_with_the_next_step(arguments: list[str], sentence: str) -> None:
    done = run_runner(*arguments)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_group_without_a_verb_shows_its_help() -> None:
    done = run_runner("models")
    assert done.returncode == 2
    assert "Commands:" in done.stderr


def on_a_terminal(tmp_path: Path, **environment: str) -> bytes:
    """Returns what `doctor` writes to a terminal."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    command = [sys.executable, ROOT / "runner.py", "doctor", "--workdir", tmp_path]
    variables = kept | {"TERM": "xterm"} | environment
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env=variables)
    os.close(theirs)
    shown = b""
    # Reading a terminal that everybody else has closed is an error on Linux.
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(ours)
    process.wait()
    return shown


def test_colours_are_for_terminals_and_not_where_no_color_is_set(tmp_path: Path) -> None:
    assert COLOUR.search(on_a_terminal(tmp_path))
    assert not COLOUR.search(on_a_terminal(tmp_path, NO_COLOR="1"))
    assert "\x1b" not in run_runner("doctor", "--workdir", str(tmp_path)).stdout


def test_a_shell_can_complete_verbs_and_options() -> None:
    def completed(*words: str) -> list[str]:
        variables = {
            "_RUNNER.PY_COMPLETE": "complete_bash",
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(len(words) - 1),
        }
        done = subprocess.run(
            [sys.executable, ROOT / "runner.py"],
            capture_output=True,
            text=True,
            env=os.environ | variables,
        )
        return done.stdout.split()

    assert completed("runner.py", "pre") == ["predict"]
    assert completed("runner.py", "models", "ro") == ["rollback"]
    assert completed("runner.py", "serve", "--rest") == ["--rest-port"]
