"""Writes the reference at build time: settings, command line and the public Python modules."""

import inspect
import sys
import types
import typing
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import mkdocs_gen_files
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.cli import get_docs_for_click

# The repository is not an installed package, and `mkdocs` does not put it on the path.
sys.path.insert(0, str(Path(__file__).parents[1]))

from cli.app import app
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT
from pipeline.settings.presets import Preset

# What is meant to be imported, or to be understood, from outside its package.
_MODULES = (
    "serving.client.*",
    "serving.versions.*",
    "components.*.component",
    "data.*",
    "pipeline.*",
)
_CONSTRAINTS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def _write(path: str, text: str) -> None:
    with mkdocs_gen_files.open(path, "w") as file:
        file.write(text)


def settings_page() -> Iterator[str]:
    """The settings as tables, one per section."""
    yield "# Settings\n"
    yield "Presets come first, then the file given by `--config`, then `--set section.key=value`;"
    yield "the later one wins. In a file, a section is a TOML table.\n"
    yield from _table("", Config)
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            yield f"\n## {name}\n\n{inspect.getdoc(section) or ''}\n"
            yield from _table(f"{name}.", section)
    yield "\n## Presets\n\n| preset | differs from the defaults in |\n|---|---|"
    for preset in Preset:
        config = load_config(preset)
        values = [
            f"`{section}.{key} = {_value(value)}`"
            for section, defaults in Config()
            if isinstance(defaults, BaseModel)
            for key, value in getattr(config, section)
            if value != getattr(defaults, key)
        ]
        yield f"| `{preset}` | {', '.join(values) or 'nothing'} |"


def _table(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    yield "| setting | type | default | |\n|---|---|---|---|"
    for name, field in model.model_fields.items():
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            notes = "; ".join(part for part in (field.description, _limits(field)) if part)
            default = _value(field.get_default(call_default_factory=True))
            yield f"| `{prefix}{name}` | {_type(field.annotation)} | `{default}` | {notes} |"


def _type(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return ", ".join(f"`{member}`" for member in annotation)
    if isinstance(annotation, types.UnionType):
        parts = [part for part in typing.get_args(annotation) if part is not types.NoneType]
        return ", ".join(map(_type, parts)) + ", optional"
    if typing.get_origin(annotation) is tuple:
        return f"list of {_type(typing.get_args(annotation)[0])}"
    return {"str": "text", "Path": "path", "bool": "true, false"}.get(
        annotation.__name__, annotation.__name__
    )


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Path) and value.is_relative_to(ROOT):
        return f"{value.relative_to(ROOT)}/"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_value, value))}]"
    return str(value)


def _limits(field: FieldInfo) -> str:
    limits = [
        f"{sign} {getattr(constraint, name)}"
        for constraint in field.metadata
        for name, sign in _CONSTRAINTS.items()
        if hasattr(constraint, name)
    ]
    return ", ".join(limits)


def command_line_page() -> str:
    """What `--help` says, for every verb."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="python runner.py")
    text = get_docs_for_click(obj=command, ctx=context, name="python runner.py")
    return text.replace("# `python runner.py`", "# Command line", 1)


def python_pages() -> Iterator[str]:
    """An index of the modules; writes a page for each."""
    yield "# Python\n\n| module | |\n|---|---|"
    for pattern in _MODULES:
        for path in sorted(ROOT.glob(f"{pattern.replace('.', '/')}.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            if path.name == "__init__.py" or '"""' not in path.read_text():
                continue
            first = path.read_text().partition('"""')[2].partition("\n")[0].strip('"')
            _write(f"reference/{module}.md", f"# {module}\n\n::: {module}\n")
            yield f"| [{module}]({module}.md) | {first} |"


_write("reference/settings.md", "\n".join(settings_page()) + "\n")
_write("reference/command_line.md", command_line_page())
_write("reference/python.md", "\n".join(python_pages()) + "\n")
