"""Reads and validates the server's text-format configuration files."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.model_server.errors import Code, ServingError, invalid_argument
from serving.model_server.source import MonitoredModel, VersionChoice

_logger = logging.getLogger(__name__)

TENSORFLOW_PLATFORM = "tensorflow"

# A path from the root, or a URI by its scheme.
_ABSOLUTE = re.compile(r"/|[A-Za-z][A-Za-z0-9+.\-]*:")

_Message = TypeVar("_Message")


def read_text_proto(path: Path, message: _Message) -> _Message:
    """Parses the text-format file at `path` into `message`; ServingError says what is wrong."""
    kind = message.DESCRIPTOR.full_name  # type: ignore[attr-defined]
    try:
        text_format.Parse(path.read_text(encoding="utf-8"), message)
    except OSError as error:
        raise ServingError(Code.NOT_FOUND, f"{path}: {error.strerror}") from error
    except (text_format.ParseError, ValueError, RecursionError) as error:
        raise invalid_argument(
            f"Invalid protobuf file: '{path}': Error parsing text-format {kind}: {error}"
        ) from error
    return message


def single_model_config(name: str, base_path: str) -> Any:
    """The ModelServerConfig that --model_name and --model_base_path stand for."""
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(
        name=name, base_path=base_path, model_platform=TENSORFLOW_PLATFORM
    )
    return config


def check_model_config(new: Any, old: Any | None) -> None:
    """Refuses a ModelServerConfig that is invalid, or no legal successor of `old`."""
    models = new.model_config_list.config
    names = [model.name for model in models]
    for name in names:
        if names.count(name) > 1:
            raise invalid_argument(f"Illegal to list model {name} multiple times in config list")
    for model in models:
        if not _ABSOLUTE.match(model.base_path):
            raise invalid_argument(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}"
            )
    if old is not None:
        _check_platforms_unchanged(new, old)


def _check_platforms_unchanged(new: Any, old: Any) -> None:
    before = {model.name: _platform(model) for model in old.model_config_list.config}
    for model in new.model_config_list.config:
        platform = _platform(model)
        if before.get(model.name, platform) != platform:
            raise invalid_argument(
                f"Illegal to change a model's platform. For model {model.name} platform was "
                f"{before[model.name]} and new platform requested is {platform}"
            )


def _platform(model: Any) -> str:
    unspecified = model_server_config_pb2.MODEL_TYPE_UNSPECIFIED
    platform: str = model.model_platform
    if model.model_type != unspecified:
        if platform:
            raise invalid_argument(
                "Illegal setting both ModelServerConfig::model_type (deprecated) and "
                f"ModelServerConfig::model_platform, model name is {model.name}"
            )
        if model.model_type != model_server_config_pb2.TENSORFLOW:
            raise invalid_argument(
                f"ModelServerConfig::model_type choice {model.model_type} not supported."
            )
        _logger.warning("model %s: model_type is deprecated, use model_platform", model.name)
        return TENSORFLOW_PLATFORM
    if not platform:
        raise invalid_argument(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"ModelServerConfig::model_platform, model name is {model.name}"
        )
    return platform


def monitored_models(config: Any) -> Iterable[MonitoredModel]:
    """What the source is to poll for a ModelServerConfig."""
    return [_monitored_model(model) for model in config.model_config_list.config]


def check_request_logs(new: Any, root: Path | None, old: Any | None) -> None:
    """Refuses log files outside `root`, or without a root any that are not in the `old` config.

    Whoever can reload the config could otherwise have the server write any file it may write.
    """
    for model in new.model_config_list.config:
        if not model.HasField("logging_config"):
            continue
        file = Path(model.logging_config.log_collector_config.filename_prefix)
        if root is None:
            is_allowed = old is not None and any(
                known.name == model.name and known.logging_config == model.logging_config
                for known in old.model_config_list.config
            )
            reason = "only the model config file may ask for that without --request_log_root"
        else:
            is_allowed = file.parent.resolve().is_relative_to(root.resolve())
            reason = f"{file} does not lie under --request_log_root {root}"
        if not is_allowed:
            raise ServingError(
                Code.PERMISSION_DENIED, f"logging_config of model {model.name}: {reason}"
            )


def _monitored_model(model: Any) -> MonitoredModel:
    platform = _platform(model)
    if platform != TENSORFLOW_PLATFORM:
        raise invalid_argument(f"Model {model.name} requests unsupported platform {platform}")
    policy = model.model_version_policy
    choice = VersionChoice(policy.WhichOneof("policy_choice") or "latest")
    return MonitoredModel(
        name=model.name,
        base_path=Path(model.base_path.removeprefix("file://")),
        choice=choice,
        num_versions=max(policy.latest.num_versions, 1),
        versions=frozenset(policy.specific.versions),
    )
