"""Every command line of the documentation names verbs, options and settings that there are."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

from cli.app import app
from pipeline.settings.config import Config

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

# A word in quotes may go on in the next line.
_COMMAND = re.compile(
    r"^(?:    |)(?:\w+=\S+ |uv run |python )*runner\.py(?P<rest>(?: (?:'[^']*'|[^\n'])*)?)$",
    re.MULTILINE,
)
_SETTING = re.compile(r"--set '?(?P<name>\w+\.\w+)=")


def commands(page: Path) -> Iterator[list[str]]:
    """The words behind `runner.py` of every command line in a block of the page."""
    text = page.read_text().replace("\\\n", " ")
    for match in _COMMAND.finditer(text):
        rest = re.split(r" +#| [|>&]|; ", match["rest"])[0]
        yield shlex.split(rest.replace("...", ""))


def problems(words: list[str]) -> Iterator[str]:
    """What is wrong with the words of a command line."""
    command = typer.main.get_command(app)
    if not words or words[0].startswith("-"):
        words = ["run", *words]
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    if getattr(command, "commands", None) and words:
        yield f"there is no verb {words[0]}"
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    yield from (f"{command.name} has no option {name}" for name in given - known - {"--help"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_has_verbs_and_options_that_there_are(page: Path) -> None:
    found = [(" ".join(words), problem) for words in commands(page) for problem in problems(words)]
    assert found == []


def test_commands_are_found() -> None:
    verbs = {words[0] for page in PAGES for words in commands(page) if words}
    assert {"data", "models", "serve", "predict", "schedule", "compile"} <= verbs


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_is_one_that_there_is(page: Path) -> None:
    names = {
        f"{section}.{key}"
        for section, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for key in field.annotation.model_fields
    }
    assert {match["name"] for match in _SETTING.finditer(page.read_text())} <= names
