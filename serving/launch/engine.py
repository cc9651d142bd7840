"""The Docker engine that the user's `docker` talks to, and whether a server can be run on it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from files.paths import resolved
from serving.addresses import is_loopback
from serving.launch.base import ServerMissingError

if TYPE_CHECKING:
    from docker import DockerClient

_DEFAULT_SOCKET = Path("/var/run/docker.sock")
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))


def connect(seconds: int) -> DockerClient:
    """Returns a client of the engine that DOCKER_HOST or the current Docker context names.

    Args:
        seconds: that the engine may take to answer.

    Raises:
        ServerMissingError: none answers, or not in time; the message says which.
    """
    import docker
    from docker.constants import DEFAULT_DOCKER_API_VERSION
    from requests import Timeout

    try:
        # A version is named so that nothing is sent before proxies are ruled out.
        first = _direct(docker.from_env(version=DEFAULT_DOCKER_API_VERSION, timeout=seconds))
    except Exception as error:
        # Whatever is wrong with contexts and certificates: the package has no one error for it.
        raise ServerMissingError(f"no Docker engine can be used: {error}") from error
    try:
        offered = first.api.version(api_version=False)["ApiVersion"]
    except Timeout as error:
        raise ServerMissingError(
            f"the Docker engine at {first.api.base_url} did not answer within {seconds} s "
            "(--model-server docker waits longer)"
        ) from error
    except Exception as error:
        raise ServerMissingError(f"no Docker engine answers: {error}") from error
    finally:
        first.close()
    return _direct(docker.from_env(version=offered))


def plain_no(image: str, seconds: int) -> str | None:
    """Returns why no image can be had of the engine that is used when none is named, if it is so.

    None: only `connect` knows. The question comes before every run, also one that has nothing to
    do, and importing the Docker package would take a fifth of that one.
    """
    if _names_an_engine():
        return None
    if not _DEFAULT_SOCKET.exists():
        return f"no Docker engine can be used: there is no {_DEFAULT_SOCKET}"
    connection = _UnixConnection("localhost", timeout=seconds)
    try:
        connection.request("GET", f"/images/{image}/json")
        answer = connection.getresponse()
        lacks = answer.status == http.HTTPStatus.NOT_FOUND and b"No such image" in answer.read()
        return f"the Docker engine has no image {image}" if lacks else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _names_an_engine() -> bool:
    if os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT"):
        return True
    try:
        folder = resolved(Path(os.environ.get("DOCKER_CONFIG") or "~/.docker"))
    except ValueError:  # no home has no configuration either
        return False
    try:
        return "currentContext" in json.loads((folder / "config.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True


class _UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(_DEFAULT_SOCKET))


def check_reach(client: DockerClient, image: str, folder: Path) -> None:
    """Makes sure that a container could read a folder of this machine and be asked from here.

    Args:
        client: of the engine.
        image: that the engine has.
        folder: that is to be mounted; need not exist yet.

    Raises:
        ServerMissingError: it could not, mostly because this process is in a container itself.
    """
    from docker.errors import DockerException

    try:
        if _is_behind_its_own_loopback(client):
            raise ServerMissingError(
                "the Docker engine publishes ports on its host, which this container cannot reach "
                "on loopback (it would with --network host)"
            )
        existing = next(place for place in (folder, *folder.parents) if place.is_dir())
        # A new name: a folder of an old one may be there on the engine's side by chance.
        with tempfile.TemporaryDirectory(prefix=".mount-", dir=existing) as probe:
            _check_mount(client, image, Path(probe))
    except PermissionError:
        return
    except (DockerException, OSError) as error:
        raise ServerMissingError(
            f"the Docker engine cannot mount folders below {folder} (is this a container, or the "
            f"engine on another machine?): {error}"
        ) from error


def _check_mount(client: DockerClient, image: str, folder: Path) -> None:
    from docker.types import Mount

    mount = Mount("/mnt", str(folder), type="bind", read_only=True)
    container = client.api.create_container(
        image, host_config=client.api.create_host_config(mounts=[mount])
    )
    client.api.remove_container(container["Id"], force=True, v=True)


def _is_behind_its_own_loopback(client: DockerClient) -> bool:
    from docker.errors import NotFound

    if not any(mark.exists() for mark in _CONTAINER_MARKS):
        return False
    try:
        own = client.api.inspect_container(socket.gethostname())
    except NotFound:
        return False
    return bool(own["HostConfig"]["NetworkMode"] != "host")


def _direct(client: DockerClient) -> DockerClient:
    """Keeps a proxy out of the way to an engine on this machine."""
    if is_loopback(client.api.base_url):
        client.api.trust_env = False
    return client
