"""nginx in front of the served model; the `edge` section of the settings."""

from pathlib import Path

from pydantic import Field

from pipeline.settings.base import Settings


class EdgeSettings(Settings):
    """Who may ask at the edge, and how much; see docs/howto/edge.md."""

    certificate: Path | None = Field(
        None, description="PEM, the server's own first; with it, REST and gRPC use TLS"
    )
    key: Path | None = Field(None, description="private key of the certificate")
    tokens: Path | None = Field(
        None, description="file with a bearer token a line; a client sends one of them"
    )
    passwords: Path | None = Field(
        None, description="file that htpasswd wrote; a client sends a name and its password"
    )
    max_body_megabytes: int = Field(16, ge=1, description="of a request")
    requests_per_second: int = Field(
        0, ge=0, description="of one client address, beyond which 429 is answered; 0: no limit"
    )
    burst: int = Field(50, ge=0, description="requests above that rate that are let through")
    connections_per_address: int = Field(
        0,
        ge=0,
        le=65535,
        description="that are being answered at once, of gRPC calls, beyond which 429 is answered; "
        "0: no limit",
    )
    sticky_header: str = Field(
        "X-Client-Id",
        pattern=r"^[A-Za-z][A-Za-z0-9-]*$",
        description="header whose value, where it is sent, stands for a client instead of its "
        "address when a canary's share is chosen",
    )
    access_log_megabytes: int = Field(
        256, ge=1, description="of the access log; it and the one before it are kept"
    )
