"""Options that several verbs of the command line share; imports nothing heavy."""

from pathlib import Path
from typing import Annotated

import typer

from files.paths import resolved

Workdir = Annotated[Path | None, typer.Option(help="Where everything is written. [var/]")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file of settings.")]
Preset = Annotated[str | None, typer.Option(help="smoke, default or best.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="One setting; may be repeated."),
]
ModelServer = Annotated[str | None, typer.Option(help="auto, docker, binary or embedded.")]
Json = Annotated[bool, typer.Option("--json", help="The result as one JSON object on stdout.")]


def in_full(path: Path) -> Path:
    """Makes an argument a whole path; a callback of options that name what is written."""
    try:
        return resolved(path)
    except ValueError as error:
        raise typer.BadParameter(f"{str(path)!r}: {error}") from None


def examples(*arguments: str) -> str:
    """Returns the end of a verb's help: command lines to copy."""
    # \b keeps the lines apart; help is wrapped otherwise.
    return "\b\nExamples:\n" + "\n".join(
        f"  python runner.py {line}".rstrip() for line in arguments
    )
