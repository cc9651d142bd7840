"""The model servers that are there, and the one that is used."""

from collections.abc import Callable
from pathlib import Path

from cli.doctor.finding import Finding, State
from pipeline.settings.config import Config
from serving.edge.nginx import INSTALL, find_nginx
from serving.launch.base import ModelServer, ServerKind, ServerMissingError
from serving.launch.docker import DockerServer
from serving.launch.process import BinaryServer, EmbeddedServer
from serving.launch.selection import choose_server


def servers(config: Config) -> list[Finding]:
    """Each kind of server, then the choice."""
    settings = config.infra_validation
    image = settings.docker_image
    return [
        _looked_for(
            "Docker",
            lambda: DockerServer(image, asked_for=False),
            f"for production's own server: `docker pull {image}`",
        ),
        _looked_for("binary", BinaryServer, ""),
        _looked_for("embedded", EmbeddedServer, "`uv sync` installs TensorFlow"),
        _choice(settings.model_server, image, config.serving_dir),
    ]


def edge(_config: Config) -> list[Finding]:
    """nginx, which only `serve --edge` needs."""
    path = find_nginx()
    if path is None:
        text = "not here; only `serve --edge` needs it"
        return [Finding(subject="nginx", state=State.NOTE, text=text, advice=INSTALL)]
    return [Finding(subject="nginx", state=State.OK, text=path)]


def _looked_for(subject: str, find: Callable[[], ModelServer], advice: str) -> Finding:
    try:
        server = find()
    except ServerMissingError as error:
        return Finding(subject=subject, state=State.NOTE, text=str(error), advice=advice)
    server.stop()
    return Finding(subject=subject, state=State.OK, text=server.description)


def _choice(kind: ServerKind, image: str, folder: Path) -> Finding:
    if kind is ServerKind.DOCKER:
        # Choosing it would pull the image.
        text = f"docker is asked for, with {image}"
        return Finding(subject="model server", state=State.OK, text=text)
    try:
        choice = choose_server(kind, image, folder)
    except ServerMissingError as error:
        return Finding(
            subject="model server",
            state=State.BROKEN,
            text=f"{kind} is asked for, but {error}",
            advice="--model-server auto takes what there is",
        )
    choice.server.stop()
    return Finding(
        subject="model server",
        state=State.OK,
        text=f"{choice.kind}, {choice.why}",
    )
