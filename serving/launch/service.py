"""A model server on a versioned directory, for as long as somebody wants it."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TextIO

from pydantic import BaseModel, Field

from serving.addresses import join_host_port, reachable_host
from serving.client.errors import ModelFailedError, NotAvailableError, UnavailableError
from serving.client.interface import Prepare
from serving.client.status import fetch_status, known_versions, wait_until_available
from serving.launch.base import (
    Launch,
    ModelServer,
    ServerKind,
    ServerMissingError,
    free_ports,
    is_free,
)
from serving.launch.selection import Choice, choose_server
from serving.status import VersionStatus
from serving.versions.labels import CONFIG_NAME, Labels, listed_versions, read_labels
from serving.versions.store import VersionStore

_WATCH_SECONDS = 1.0
# Pushed versions are whole and were tried; what fails to load may have met a full memory.
_FLAGS = (
    "--file_system_poll_wait_seconds=1",
    "--max_num_load_retries=2",
    "--load_retry_interval_micros=5000000",
)
_CONFIG_FLAGS = (
    "--model_config_file_poll_wait_seconds=1",
    # At the start, a label may be read before the version it names is loaded.
    "--allow_version_labels_for_unavailable_models=true",
)


class NothingToServeError(Exception):
    """The directory holds no version yet."""


class CannotServeError(Exception):
    """What was asked for cannot be served like that; the message says what to change."""


class ServerFailedError(Exception):
    """The server ended by itself, or does not serve what it should."""


@dataclass(frozen=True)
class Address:
    """Where to listen."""

    host: str
    grpc_port: int
    rest_port: int
    ui_port: int | None = None


@dataclass(frozen=True)
class Request:
    """What to serve, and by which server.

    Attributes:
        directory: the model's base directory.
        model_name: unless the directory's `models.config` names it.
        kind: of server.
        docker_image: for `docker`.
        max_load_seconds: until every version is AVAILABLE.
        log: takes the output of a server that is a process.
        public_key: of the key that every version must be signed with; None: any is served.
        prepare: makes a picture's bytes into what the model is shown, for the page.
    """

    directory: Path
    model_name: str
    kind: ServerKind
    docker_image: str
    max_load_seconds: float
    log: Path
    public_key: Path | None = None
    prepare: Prepare | None = None


class Serving(BaseModel):
    """What is being served, how, and where.

    Attributes:
        kind: of server.
        server: its version, image or path.
        why: that server.
        versions: that are AVAILABLE, newest first.
        labels: version by label.
        rest: address of the REST API.
        grpc: address of the gRPC API.
        ui: address of the page, if there is one.
        edge: address of the REST API at the edge, if there is one.
        log: what a server process writes; None for a container, whose log Docker keeps.
    """

    kind: ServerKind
    server: str
    why: str
    model_name: str
    versions: list[int]
    labels: dict[str, int] = Field(default_factory=dict)
    rest: str
    grpc: str
    ui: str | None = None
    edge: str | None = None
    log: Path | None = None


@contextmanager
def serving(
    request: Request, address: Address, talk: TextIO
) -> Iterator[tuple[Serving, ModelServer]]:
    """Serves what was pushed for the length of a `with` block.

    Args:
        request: what to serve, by which server.
        address: where to listen.
        talk: gets a line about what is started.

    Yields:
        What is served, once it is AVAILABLE, and the server.

    Raises:
        NothingToServeError: nothing was pushed.
        CannotServeError: a port is taken, or the server is not to be had.
        ServerFailedError: the server ended or gave the model up.
    """
    store = VersionStore(request.directory)
    wanted = _wanted_versions(store)
    _check_ports(address)
    choice = _choose(request)
    labels = read_labels(store)
    _check_base_path(labels, request.directory, choice.kind)
    name = labels.model_name if labels else request.model_name
    log = None if choice.kind is ServerKind.DOCKER else request.log
    print(f"starting {choice.server.description} ({choice.why})", file=talk, flush=True)
    with ExitStack() as stack:
        stack.callback(_stop, choice.server)
        _start(choice.server, request.directory, name, _launch(request, address, labels, log))
        _wait_until_available(choice.server, name, wanted, request.max_load_seconds)
        state = Serving(
            kind=choice.kind,
            server=choice.server.description,
            why=choice.why,
            model_name=name,
            versions=sorted(wanted, reverse=True),
            labels=labels.labels if labels else {},
            rest=choice.server.rest_url,
            grpc=choice.server.grpc_address,
            log=log,
        )
        if address.ui_port is not None:
            page_host = reachable_host(address.host)
            state.ui = f"http://{join_host_port(page_host, address.ui_port)}"
            _start_page(stack, request, address, choice.server.rest_url, name)
        yield state, choice.server


def watch(state: Serving, server: ModelServer, talk: TextIO) -> None:
    """Says which versions come and go, and which are not served and why, while the server runs.

    Raises:
        ServerFailedError: the server ended by itself.
    """
    told: set[VersionStatus] = set()
    while True:
        time.sleep(_WATCH_SECONDS)
        if not server.is_running():
            raise ServerFailedError(_ended(server))
        try:
            known = known_versions(server.rest_url, state.model_name)
        except UnavailableError:
            continue
        available = [number for number, status in known.items() if status.is_available]
        if available != state.versions:
            state.versions = available
            listed = ", ".join(map(str, available)) or "none"
            print(f"versions now served: {listed}", file=talk, flush=True)
        failed = {status for status in known.values() if status.has_failed}
        for status in sorted(failed - told, key=lambda status: status.version):
            why = " ".join(status.message.split())
            print(f"version {status.version} is not served: {why}", file=talk, flush=True)
        told = failed


def _wanted_versions(store: VersionStore) -> set[int]:
    served = [version.number for version in store.served()]
    if not served:
        raise NothingToServeError(f"nothing has been pushed to {store.storage.base} yet")
    return listed_versions(store) or {served[0]}


def _check_ports(address: Address) -> None:
    named = {
        "--grpc-port": address.grpc_port,
        "--rest-port": address.rest_port,
        "--ui-port": address.ui_port,
    }
    ports = [port for port in named.values() if port]
    if len(set(ports)) < len(ports):
        raise CannotServeError(f"{', '.join(named)} must differ")
    try:
        free_ports(1, address.host)
    except OSError as error:
        raise CannotServeError(
            f"cannot listen on {address.host}: {error.strerror or error}; --host takes an address "
            "of this machine"
        ) from error
    for flag, port in named.items():
        if port and not is_free(port, address.host):
            raise CannotServeError(
                f"port {port} is taken by another program; choose another one with {flag}"
            )


def _choose(request: Request) -> Choice:
    if request.public_key and request.kind in (ServerKind.DOCKER, ServerKind.BINARY):
        raise CannotServeError(
            "TensorFlow Serving cannot verify signatures: with --require-signature, take "
            "--model-server embedded"
        )
    try:
        if request.public_key:
            choice = choose_server(ServerKind.EMBEDDED, request.docker_image)
            return replace(choice, why="only it verifies signatures")
        return choose_server(request.kind, request.docker_image, request.directory)
    except ServerMissingError as error:
        raise CannotServeError(f"{error}; --model-server auto takes what there is") from error


def _check_base_path(labels: Labels | None, directory: Path, kind: ServerKind) -> None:
    """A file that names the directory as a container sees it is of no use outside of one."""
    if kind is ServerKind.DOCKER or not labels or Path(labels.base_path) == directory:
        return
    label, version = next(iter(labels.labels.items()), ("stable", "N"))
    again = f"runner.py models label {label} {version} --base-path {directory}"
    raise CannotServeError(
        f"{directory / CONFIG_NAME} calls the directory {labels.base_path}, which only a "
        f"container can have; take --model-server docker, or write it anew with `{again}`"
    )


def _launch(request: Request, address: Address, labels: Labels | None, log: Path | None) -> Launch:
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
    trust = (f"--require_signature={request.public_key}",) if request.public_key else ()
    return Launch(
        grpc_port=address.grpc_port,
        rest_port=address.rest_port,
        host=address.host,
        flags=_FLAGS + (_CONFIG_FLAGS if labels else ()) + trust,
        config_name=CONFIG_NAME if labels else "",
        base_path=labels.base_path if labels else "",
        log=log,
    )


def _start(server: ModelServer, directory: Path, model_name: str, launch: Launch) -> None:
    try:
        server.start(directory, model_name, launch)
    except ServerMissingError as error:
        raise CannotServeError(str(error)) from error


def _start_page(
    stack: ExitStack, request: Request, address: Address, rest_url: str, model_name: str
) -> None:
    from serving.ui.server import UiFailedError, ui_server

    if request.prepare is None or address.ui_port is None:
        raise CannotServeError("the page needs to know how a picture is prepared")
    page = ui_server(address.host, address.ui_port, rest_url, model_name, request.prepare)
    try:
        stack.enter_context(page)
    except UiFailedError as error:
        raise ServerFailedError(str(error)) from error


def _wait_until_available(
    server: ModelServer, model_name: str, wanted: set[int], limit_seconds: float
) -> None:
    def check() -> None:
        if not server.is_running():
            raise ServerFailedError(_ended(server))

    try:
        wait_until_available(
            partial(fetch_status, server.rest_url, model_name),
            limit_seconds,
            "the model",
            wanted=wanted,
            check=check,
        )
    except ModelFailedError as error:
        raise ServerFailedError(error.message) from error
    except NotAvailableError as error:
        raise ServerFailedError(f"{error.message} (infra_validation.max_load_seconds)") from error


def _ended(server: ModelServer) -> str:
    last = next((line for line in reversed(server.log_tail()) if line.strip()), "nothing")
    return f"{server.description} ended; the last it said: {last}"


def _stop(server: ModelServer) -> None:
    # A second Ctrl-C must not leave a container behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    server.stop()
    sys.stdout.flush()
