"""InfraValidator's verdict: one JSON file in the artifact, mirrored in its properties.

An `InfraBlessing` artifact holds `blessing.json`, the marker `INFRA_BLESSED` or
`INFRA_NOT_BLESSED` that TFX's own components look for, and, when it blesses, the warmed SavedModel
under `stamped_model/`: what is pushed, byte for byte.
"""

import json
from pathlib import Path

from pydantic import BaseModel, Field
from tfx import types

BLESSED_MARKER = "INFRA_BLESSED"
NOT_BLESSED_MARKER = "INFRA_NOT_BLESSED"
BLESSING_FILE = "blessing.json"
STAMPED_MODEL = "stamped_model"

# Names of the artifact's custom properties; the first two are TFX's.
BLESSED_PROPERTY = "blessed"
HAS_MODEL_PROPERTY = "has_model"
REASONS_PROPERTY = "reasons"
MODEL_SERVER_PROPERTY = "model_server"
VALIDATED_PROPERTY = "validated"


class Latency(BaseModel):
    """Round-trip times of single-example gRPC requests to one signature, in milliseconds."""

    p50_ms: float
    p99_ms: float


class Measurements(BaseModel):
    """What was measured on the model server; None: the validation ended before.

    Attributes:
        start_seconds: from the start of the server to the candidate being AVAILABLE.
        reload_seconds: from the warmed model's appearance to its being AVAILABLE, including up to
            one second until the server polls.
        own_seconds: what validation took besides waiting for the server to start and to load, by
            step.
        memory_megabytes: resident memory of the server after the requests.
        model_megabytes: size of the SavedModel, before warmup records.
        latency: by signature.
        recorded_requests: how many recorded requests of production were answered.
        requests: how many requests were answered, these included.
        attempts: how often the model was tried; the other numbers are of the last attempt.
        warmup_records: how many were written into the model.
    """

    start_seconds: float | None = None
    reload_seconds: float | None = None
    own_seconds: dict[str, float] = Field(default_factory=dict)
    memory_megabytes: float | None = None
    model_megabytes: float | None = None
    latency: dict[str, Latency] = Field(default_factory=dict)
    recorded_requests: int = 0
    requests: int = 0
    attempts: int = 0
    warmup_records: int = 0


class Blessing(BaseModel):
    """The verdict on a model.

    Attributes:
        blessed: whether it may be pushed.
        validated: False when Evaluator had not blessed it, so that no server was started.
        reasons: why it is not blessed: which server, signature and request, expected and got.
        model_server: the kind of server that was used: `docker`, `binary` or `embedded`.
        server_choice: why that one, and which version or image.
        server_log: the server's last lines, when it refused.
        checksums: SHA-256 of every file of the warmed model by relative path.
        measurements: what was measured.
    """

    blessed: bool
    validated: bool = True
    reasons: list[str] = Field(default_factory=list)
    model_server: str = ""
    server_choice: str = ""
    server_log: list[str] = Field(default_factory=list)
    checksums: dict[str, str] = Field(default_factory=dict)
    measurements: Measurements = Field(default_factory=Measurements)


def is_blessed(verdict: types.Artifact) -> bool:
    """Whether a `ModelBlessing` or `InfraBlessing` blesses the model."""
    return bool(verdict.get_int_custom_property(BLESSED_PROPERTY) == 1)


def write_blessing(blessing: Blessing, artifact: types.Artifact) -> None:
    """Writes the verdict into the artifact's folder and properties."""
    folder = Path(artifact.uri)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / BLESSING_FILE).write_text(blessing.model_dump_json(indent=2))
    (folder / (BLESSED_MARKER if blessing.blessed else NOT_BLESSED_MARKER)).touch()
    artifact.set_int_custom_property(BLESSED_PROPERTY, int(blessing.blessed))
    artifact.set_int_custom_property(HAS_MODEL_PROPERTY, int(blessing.blessed))
    artifact.set_int_custom_property(VALIDATED_PROPERTY, int(blessing.validated))
    artifact.set_string_custom_property(REASONS_PROPERTY, json.dumps(blessing.reasons))
    artifact.set_string_custom_property(MODEL_SERVER_PROPERTY, blessing.model_server)


def read_blessing(uri: str) -> Blessing:
    """Reads the verdict from an artifact's folder."""
    return Blessing.model_validate_json((Path(uri) / BLESSING_FILE).read_text())


def stamped_model(uri: str) -> Path:
    """Returns where the artifact holds the warmed model."""
    return Path(uri) / STAMPED_MODEL
