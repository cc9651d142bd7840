"""How a client proves who a server is, and who it is itself; the same for REST and gRPC."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from serving.client.errors import InvalidRequestError
from serving.status import Code


@dataclass(frozen=True)
class TlsOptions:
    """For `https://` addresses; without any, the system's authorities are trusted.

    Attributes:
        ca_file: PEM file with the authorities that the server's certificate is checked against.
        certificate: PEM file with this client's certificate, for servers that ask for one.
        key: PEM file with its private key.
        server_name: name in the server's certificate, when it is not the one in the address.
    """

    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        """Raises InvalidRequestError unless certificate and key are given together."""
        if (self.certificate is None) != (self.key is None):
            raise InvalidRequestError(
                Code.INVALID_ARGUMENT, "a client certificate and its key must be given together"
            )


def read_pem(path: Path | None) -> bytes | None:
    """Returns a file's content, None for None; raises InvalidRequestError if there is none."""
    try:
        return path.read_bytes() if path is not None else None
    except OSError as error:
        raise InvalidRequestError(
            Code.INVALID_ARGUMENT, f"cannot read {path}: {error.strerror or error}"
        ) from error
