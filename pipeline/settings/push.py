"""Where models are pushed to; the `push` section of the settings."""

from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from files.paths import resolved
from pipeline.settings.base import Settings
from serving.versions.permissions import Permissions


class PushSettings(Settings):
    """The versioned serving directory."""

    destination: str | None = Field(
        None,
        min_length=1,
        description="the model's base path: a folder, or a URI that TensorFlow reaches, such as "
        "gs://bucket/models/name; None: serving/NAME in the workdir",
    )
    keep: int = Field(5, ge=2, description="versions kept beside those served or labelled")
    file_mode: str = Field(
        "0644",
        pattern="^0?[4-7][0-7]{2}$",
        description="permission bits of pushed files in octal, whatever the umask; folders can "
        "be entered by all who may read",
    )
    group: str | None = Field(
        None, min_length=1, description="that owns what is pushed; None: the pusher's own"
    )
    sign_with: Path | None = Field(
        None,
        description="private key (PEM, elliptic curve) that signs what is pushed; see docs/push.md",
    )
    fail_when_refused: bool = Field(False, description="a refused model fails the Pusher node")
    live_server: str | None = Field(
        None, description="http://host:port of a server that must come to serve the version"
    )
    live_timeout_seconds: float = Field(60.0, gt=0, description="how long that may take")
    canary_percent: int = Field(
        0,
        ge=0,
        le=100,
        description="share of the clients of `serve --edge` that meet a pushed version until it is "
        "promoted; 0: all do, at once",
    )

    @field_validator("destination")
    @classmethod
    def _is_a_path_or_uri(cls, destination: str | None) -> str | None:
        if destination and "://" not in destination:
            resolved(Path(destination))
        return destination

    @model_validator(mode="after")
    def _check_canary(self) -> Self:
        if self.canary_percent and "://" in (self.destination or ""):
            raise ValueError("push.canary_percent needs a push.destination that is a local folder")
        return self

    @property
    def permissions(self) -> Permissions:
        """Of everything that is written to the destination."""
        return Permissions.parse(self.file_mode, self.group)
