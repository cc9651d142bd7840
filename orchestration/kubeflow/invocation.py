"""Between what the Kubeflow Pipelines backend hands to a container and what TFX can read.

Invocations and outputs are the JSON forms of the messages ExecutorInput and ExecutorOutput of
kfp's pipeline_spec.proto.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

Json = dict[str, Any]

# Where the backend's launcher keeps the local copies of artifacts, by the scheme of their URI
# (LocalPathForURI in backend/src/v2/component/launcher_v2.go of kubeflow/pipelines).
MOUNTS = {"gs": "/gcs", "minio": "/minio", "s3": "/s3"}

# An output of its own that the backend adds to every task, and that has no type.
_LOGS = "executor-logs"

# Kubeflow has no outputs without artifacts: one that an executor withdrew is handed on under this
# mark instead.
_WITHDRAWN = "withdrawn"


def local_path(uri: str) -> str:
    """Returns where an artifact lies in the container."""
    parts = urlsplit(uri)
    mount = MOUNTS.get(parts.scheme)
    return str(PurePosixPath(mount, parts.netloc, parts.path.lstrip("/"))) if mount else uri


def readable_by_tfx(invocation: Json, inputs: Json) -> Json:
    """Returns the invocation with local paths, known types, and only artifacts that are there.

    Args:
        invocation: an ExecutorInput from the backend; it is not changed.
        inputs: the component's input definitions (ComponentInputsSpec), which have the types that
            the backend loses on the way from one task to the next.
    """
    types = {
        name: {"type": spec["artifactType"]} for name, spec in inputs.get("artifacts", {}).items()
    }
    given = invocation.get("inputs", {})
    wanted = invocation.get("outputs", {})
    read = given.get("artifacts", {}).items()
    written = wanted.get("artifacts", {}).items()
    return {
        "inputs": given | {"artifacts": {name: _local(entry, types[name]) for name, entry in read}},
        "outputs": wanted
        | {"artifacts": {name: _local(entry, {}) for name, entry in written if name != _LOGS}},
    }


def _local(entry: Json, artifact_type: Json) -> Json:
    return {
        "artifacts": [
            artifact | {"uri": local_path(artifact["uri"])} | artifact_type
            for artifact in entry.get("artifacts", [])
            if not artifact.get("metadata", {}).get(_WITHDRAWN)
        ]
    }


def readable_by_backend(output: Json, invocation: Json, withdrawn: Collection[str]) -> Json:
    """Returns the executor's output under the URIs that the backend had given.

    Args:
        output: an ExecutorOutput with local paths; it is not changed.
        invocation: the ExecutorInput as it came from the backend.
        withdrawn: the outputs for which the executor has made no artifact.
    """
    uris = dict(_uris(invocation.get("outputs", {}).get("artifacts", {})))
    return output | {
        "artifacts": {
            name: {
                "artifacts": [
                    artifact
                    | {"uri": uris[name]}
                    | ({"metadata": {_WITHDRAWN: 1}} if name in withdrawn else {})
                    for artifact in entry["artifacts"]
                ]
            }
            for name, entry in output.get("artifacts", {}).items()
        }
    }


def _uris(artifacts: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    for name, entry in artifacts.items():
        yield name, entry["artifacts"][0]["uri"]
