"""The interface of a model server that is started by this project, on this machine."""

import socket
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from serving.addresses import bare_host

# The newest release of TensorFlow Serving that was published as an image when this was written.
DEFAULT_IMAGE = "tensorflow/serving:2.20.0"

LOOPBACK = "127.0.0.1"

# Polling faster than a second is not TensorFlow Serving's to offer. A model that does not load is
# not tried again: the answer is wanted now.
SERVER_FLAGS = (
    "--file_system_poll_wait_seconds=1",
    "--max_num_load_retries=0",
    "--load_retry_interval_micros=0",
)


class ServerKind(StrEnum):
    """Which model server tries the model; `auto` takes the first that is really there."""

    AUTO = "auto"
    DOCKER = "docker"
    BINARY = "binary"
    EMBEDDED = "embedded"


@dataclass(frozen=True)
class Launch:
    """How a server is started; as it stands, for one validation.

    Attributes:
        grpc_port: 0: any free one.
        rest_port: 0: any free one.
        host: the address to listen on; `tensorflow_model_server` always takes all.
        flags: of the server, besides names and ports.
        config_name: a ModelServerConfig in the base directory, instead of name and base path.
        base_path: how that file calls the base directory, which a container mounts there.
        log: takes the output of a process; None: `server.log` beside the base directory.
    """

    grpc_port: int = 0
    rest_port: int = 0
    host: str = LOOPBACK
    flags: tuple[str, ...] = SERVER_FLAGS
    config_name: str = ""
    base_path: str = ""
    log: Path | None = None


FOR_VALIDATION = Launch()


class ServerMissingError(Exception):
    """The model server that was asked for is not on this machine."""


class ModelServer(ABC):
    """A model server in a process or container of its own, on this machine.

    Attributes:
        description: the kind of server and its version, image or path.
        grpc_address: `host:port` where it can be asked, once started.
        rest_url: `http://host:port`, once started.
    """

    description: str
    grpc_address: str
    rest_url: str

    @abstractmethod
    def start(self, base: Path, model_name: str, launch: Launch = FOR_VALIDATION) -> None:
        """Starts serving `<base>/<version>/`; returns before the model is loaded.

        Args:
            base: the model's base directory.
            model_name: under which it is served.
            launch: where it listens, with which flags.

        Raises:
            ServerMissingError: the server could not even be started.
        """

    @abstractmethod
    def stop(self) -> None:
        """Ends the server, running or not, and leaves nothing of it behind."""

    @abstractmethod
    def is_running(self) -> bool:
        """Whether the process or container is alive."""

    @abstractmethod
    def log_tail(self, lines: int = 20) -> list[str]:
        """Returns the last lines that the server wrote."""

    @abstractmethod
    def memory_megabytes(self) -> float:
        """Returns the server's resident memory."""

    def lost_its_port(self) -> bool:
        """Whether a dead server may have died because another program took its port."""
        return False


def free_ports(count: int, host: str = LOOPBACK) -> list[int]:
    """Returns different ports of an address of this machine that nothing listens on right now.

    Raises OSError if it is not an address of this machine.
    """
    with ExitStack() as stack:
        sockets = [stack.enter_context(_bound(host, 0)) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a port of an address of this machine could be listened on."""
    try:
        _bound(host, port).close()
    except OSError:
        return False
    return True


def _bound(host: str, port: int) -> socket.socket:
    family, kind, _, _, address = socket.getaddrinfo(
        bare_host(host) or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind)
    try:
        # For ports that are asked for by number: what was closed just now is not in the way.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(port > 0))
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock
