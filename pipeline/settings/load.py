"""Puts the settings of a run together: preset, file, environment, command line; later ones win."""

import os
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from files.paths import resolved
from pipeline.settings.config import Config
from pipeline.settings.errors import UsageError
from pipeline.settings.network import check_network
from pipeline.settings.presets import PRESETS, Preset

_PREFIX = "FASHION_"
_DELIMITER = "__"

# What a setting was called in earlier releases.
_FORMER_NAMES = {
    ("training", "average_flipped"): "test_time_flip",
    ("training", "warmup_share"): "warmup_fraction",
    ("training", "weight_average"): "ema_momentum",
}


class _FromEnvironment(Config, BaseSettings):
    """Says which variables there are; only its source is used."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter=_DELIMITER, extra="forbid", frozen=True
    )


def load_config(
    preset: str | None = None,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    **flags: Any,
) -> Config:
    """Merges preset, file, environment, `section.key=value` overrides and flags; later ones win.

    Args:
        preset: the preset, unless the environment or the file names one; `default` when none does.
        file: a TOML file with the sections of `Config`.
        overrides: `section.key=value`, the value in TOML's notation or a bare string.
        flags: further values by dotted name with `__` for the dot; None is left out.

    Raises:
        UsageError: when a name is unknown or a value does not fit.
    """
    settings: dict[str, Any] = {}
    for source in _sources(file, overrides, flags):
        _merge(settings, _with_current_names(source))
    chosen = preset or settings.get("preset", Preset.DEFAULT)
    if chosen not in list(Preset):
        raise UsageError(f"unknown preset {chosen!r}; there are {', '.join(Preset)}")
    merged: dict[str, Any] = {}
    _merge(merged, PRESETS[Preset(chosen)])
    _merge(merged, settings | {"preset": chosen})
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        raise UsageError(_sentence(error)) from None
    if not config.schema_file.is_file():
        raise UsageError(f"data.schema_file: there is no file {config.schema_file}")
    if config.data.schema_file:
        _check_schema(config.schema_file)
    check_network(config.training, config.data.image_size)
    return config.model_copy(update={"workdir": resolved(config.workdir)})


def _check_schema(file: Path) -> None:
    # Only a schema of somebody's own is worth their import.
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    try:
        text_format.Parse(file.read_text(), schema_pb2.Schema())
    except OSError as error:
        raise UsageError(f"data.schema_file: cannot read {file}: {error.strerror}") from None
    except (UnicodeDecodeError, text_format.ParseError) as error:
        raise UsageError(f"data.schema_file: {file} is no schema: {error}") from None


def _sources(
    file: Path | None, overrides: Sequence[str], flags: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    if file:
        yield read_settings_file(file)
    yield _read_environment()
    for override in overrides:
        yield _parse_override(override)
    for name, value in flags.items():
        if value is not None:
            yield _nested(name.split("__"), value)


def read_settings_file(file: Path) -> dict[str, Any]:
    """Reads a TOML file of settings, which may be wrong ones.

    Raises:
        UsageError: when it cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise UsageError(f"cannot read the configuration {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration {file} is not valid TOML: {error}") from None


def _read_environment() -> dict[str, Any]:
    for variable in os.environ:
        section = variable.upper().removeprefix(_PREFIX).partition(_DELIMITER)[0].lower()
        if variable.upper().startswith(_PREFIX) and section not in Config.model_fields:
            raise UsageError(f"environment variable {variable}: there is no setting {section}")
    try:
        return EnvSettingsSource(_FromEnvironment)()
    except SettingsError as error:
        raise UsageError(f"environment variables {_PREFIX}...: {error}") from None


def _with_current_names(source: dict[str, Any]) -> dict[str, Any]:
    for (section, former), name in _FORMER_NAMES.items():
        values = source.get(section)
        if isinstance(values, dict) and former in values:
            print(f"{section}.{former} is now called {section}.{name}", file=sys.stderr)
            values[name] = values.pop(former)
    return source


def _parse_override(override: str) -> dict[str, Any]:
    name, separator, text = override.partition("=")
    if not separator or "." not in name:
        raise UsageError(f"--set takes section.key=value, not {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return _nested(name.strip().split("."), value)


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    return value


def _merge(into: dict[str, Any], settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = dict(value) if isinstance(value, Mapping) else value


def _sentence(error: ValidationError) -> str:
    problems = []
    details = error.errors()
    inside = {detail["loc"][:-1] for detail in details}
    for detail in details:
        if detail["type"] == "too_short" and detail["loc"] in inside:
            continue  # pydantic does not count the items that it refuses
        name = ".".join(str(part) for part in detail["loc"])
        given = str(detail["input"]) if isinstance(detail["input"], Path) else detail["input"]
        if detail["type"] == "extra_forbidden":
            problems.append(f"there is no setting {name}")
        else:
            problems.append(f"{name} = {given!r}: {detail['msg'].lower()}")
    return "; ".join(problems)
