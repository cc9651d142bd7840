"""A compiled pipeline as a file: TFX's intermediate representation (IR) as the JSON of its proto.

Beside the pipeline, the file says what it was compiled from (`orchestration.freshness`). It holds
no secrets: a database password is asked of the environment by whoever connects.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from files.whole import write_whole
from pipeline.settings.errors import UsageError

if TYPE_CHECKING:
    from tfx.proto.orchestration import pipeline_pb2


_ORIGIN = "compiledFrom"


def write_ir(ir: "pipeline_pb2.Pipeline", path: Path, origin: dict[str, Any] | None = None) -> None:
    """Writes the pipeline; a reader sees the old file or the new one.

    Args:
        ir: the compiled pipeline.
        path: the file.
        origin: what it was compiled from, JSON-like.
    """
    from google.protobuf import json_format

    document = json_format.MessageToDict(ir) | {_ORIGIN: origin}
    write_whole(path, json.dumps(document, indent=2, sort_keys=True) + "\n")


def read_ir(path: Path) -> "pipeline_pb2.Pipeline":
    """Reads what `write_ir` wrote.

    Raises:
        UsageError: when the file cannot be read or is not a pipeline.
    """
    # Their messages are packed as Any in the IR, which can be parsed only once they are known.
    from google.protobuf import json_format
    from tfx.proto.orchestration import (
        executable_spec_pb2,  # noqa: F401
        local_deployment_config_pb2,  # noqa: F401
        pipeline_pb2,
        platform_config_pb2,  # noqa: F401
    )

    try:
        document = json.loads(path.read_text())
        document.pop(_ORIGIN, None)
        return json_format.ParseDict(document, pipeline_pb2.Pipeline())
    except (OSError, ValueError, AttributeError, json_format.ParseError) as error:
        raise _unusable(path, error) from None


@dataclass(frozen=True)
class Outline:
    """What can be told of a compiled pipeline without TFX.

    Attributes:
        workdir: the workdir that it was compiled for.
        node_ids: its nodes, in an order in which they can run.
        origin: what it was compiled from, JSON-like; None: that was not written down.
    """

    workdir: Path
    node_ids: list[str]
    origin: dict[str, Any] | None


def read_outline(path: Path) -> Outline:
    """Reads what needs no heavy import.

    Raises:
        UsageError: when the file cannot be read or is not a pipeline.
    """
    try:
        ir = json.loads(path.read_text())
        root = ir["runtimeSpec"]["pipelineRoot"]["runtimeParameter"]["defaultValue"]["stringValue"]
        nodes = [node["pipelineNode"]["nodeInfo"]["id"] for node in ir["nodes"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unusable(path, error) from None
    return Outline(Path(root).parent, nodes, ir.get(_ORIGIN))


def _unusable(path: Path, error: Exception) -> UsageError:
    what = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    return UsageError(
        f"{path} is not a compiled pipeline ({what}); `runner.py compile airflow` writes one"
    )
