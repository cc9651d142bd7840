"""Where models are pushed to; the `push` section of the settings."""

from pathlib import Path

from pydantic import Field

from pipeline.settings.base import Settings


class PushSettings(Settings):
    """The versioned serving directory."""

    destination: str | None = Field(
        None,
        min_length=1,
        description="the model's base path: a folder, or a URI that TensorFlow reaches, such as "
        "gs://bucket/models/name; None: serving/NAME in the workdir",
    )
    keep: int = Field(5, ge=2, description="versions kept beside those served or labelled")
    sign_with: Path | None = Field(
        None,
        description="private key (PEM, elliptic curve) that signs what is pushed; see docs/push.md",
    )
    fail_when_refused: bool = Field(False, description="a refused model fails the Pusher node")
    live_server: str | None = Field(
        None, description="http://host:port of a server that must come to serve the version"
    )
    live_timeout_seconds: float = Field(60.0, gt=0, description="how long that may take")
