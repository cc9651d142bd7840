"""Which model server is used, and why."""

from dataclasses import dataclass
from pathlib import Path

from serving.launch.base import ModelServer, ServerKind, ServerMissingError
from serving.launch.docker import DockerServer
from serving.launch.process import BinaryServer, EmbeddedServer


@dataclass(frozen=True)
class Choice:
    """A model server that is there, and why it was taken."""

    kind: ServerKind
    server: ModelServer
    why: str


def choose_server(kind: ServerKind, docker_image: str, folder: Path | None = None) -> Choice:
    """Returns the server that was asked for, or the first that is really there.

    `auto` prefers what production runs: the image, then the binary, then the embedded server. It
    never pulls an image.

    Args:
        kind: of server.
        docker_image: for `docker`.
        folder: that the server must be able to read; a container of an engine that does not see it
            is passed over by `auto`.

    Raises:
        ServerMissingError: the server that was asked for is not there.
    """
    if kind is ServerKind.DOCKER:
        return Choice(kind, DockerServer(docker_image, asked_for=True, folder=folder), "asked for")
    if kind is ServerKind.BINARY:
        return Choice(kind, BinaryServer(), "asked for")
    if kind is ServerKind.EMBEDDED:
        return Choice(kind, EmbeddedServer(), "asked for")
    missing = []
    try:
        server = DockerServer(docker_image, asked_for=False, folder=folder)
        return Choice(ServerKind.DOCKER, server, "first choice")
    except ServerMissingError as reason:
        missing.append(str(reason))
    try:
        return Choice(ServerKind.BINARY, BinaryServer(), f"because {missing[0]}")
    except ServerMissingError as reason:
        missing.append(str(reason))
    return Choice(ServerKind.EMBEDDED, EmbeddedServer(), f"because {' and '.join(missing)}")
