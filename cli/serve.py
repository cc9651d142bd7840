"""`runner.py serve`: what was pushed, served until Ctrl-C."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.edge import edge_of, in_front
from cli.options import ConfigFile, Json, ModelServer, Overrides, Workdir, examples

if TYPE_CHECKING:
    from pipeline.settings.config import Config
    from serving.edge.values import Edge
    from serving.launch.base import ModelServer as RunningServer
    from serving.launch.service import Address, Request, Serving

app = typer.Typer()

_FAILED = 1


@app.command(
    epilog=examples(
        "serve",
        "serve --ui",
        "serve --edge",
        "serve --model-server docker --rest-port 9501 --grpc-port 9500",
    )
)
def serve(
    grpc_port: Annotated[int, typer.Option(min=1, max=65535, help="Of the gRPC API.")] = 8500,
    rest_port: Annotated[int, typer.Option(min=1, max=65535, help="Of the REST API.")] = 8501,
    ui: Annotated[
        bool, typer.Option("--ui", help="Also a page to drop, pick or draw pictures on.")
    ] = False,
    ui_port: Annotated[int, typer.Option(min=1, max=65535, help="Of the page.")] = 8502,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 is all of them.")
    ] = "127.0.0.1",
    edge: Annotated[
        bool, typer.Option("--edge", help="Also nginx in front: canaries, limits, recording.")
    ] = False,
    edge_port: Annotated[int, typer.Option(min=1, max=65535, help="Of REST at the edge.")] = 8080,
    edge_grpc_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Of gRPC at the edge.")
    ] = 8081,
    require_signature: Annotated[
        Path | None,
        typer.Option(metavar="PUBLIC.pem", help="Serve only versions signed with its private key."),
    ] = None,
    model_server: ModelServer = None,
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Serve what was pushed, over REST and gRPC, until it is stopped.

    Ctrl-C or SIGTERM stops it. New pushes are taken up without a restart, and labels, where there
    are any, as they move. The server is the first that is there: the Docker image,
    tensorflow_model_server, the embedded one.
    """
    from cli.invocation import command
    from pipeline.settings.errors import UsageError
    from pipeline.settings.load import load_config
    from serving.addresses import join_host_port
    from serving.edge.canary import CanaryError
    from serving.edge.values import EdgeError
    from serving.launch.service import (
        Address,
        CannotServeError,
        NothingToServeError,
        ServerFailedError,
        watch,
    )

    settings = load_config(
        None,
        config,
        overrides or [],
        workdir=workdir,
        infra_validation__model_server=model_server,
    )
    # With an edge in front, the server itself is for this machine only.
    address = Address("127.0.0.1" if edge else host, grpc_port, rest_port, ui_port if ui else None)
    front = None
    if edge:
        rest, grpc = (join_host_port(address.host, port) for port in (rest_port, grpc_port))
        front = edge_of(settings, rest, grpc, host, edge_port, edge_grpc_port)
    request = _request(settings, require_signature)
    try:
        with _served(settings, request, address, front) as (state, server):
            if as_json:
                print(state.model_dump_json(), flush=True)
            else:
                _print(state, settings, host)
            watch(state, server, sys.stderr)
    except NothingToServeError as error:
        again = command("run", settings.workdir)
        raise UsageError(f"{error}; `{again}` trains and pushes a model") from None
    except (CannotServeError, EdgeError, CanaryError) as error:
        raise UsageError(str(error)) from None
    except ServerFailedError as error:
        print(f"runner.py: {error}", file=sys.stderr)
        raise typer.Exit(_FAILED) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)


@contextmanager
def _served(
    settings: "Config", request: "Request", address: "Address", edge: "Edge | None"
) -> "Iterator[tuple[Serving, RunningServer]]":
    """Starts the server, and the edge in front of it where one was asked for."""
    from cli.canary import trial_of
    from serving.edge.running import prepare
    from serving.launch.service import serving

    if edge is None:
        with serving(request, address, sys.stderr) as started:
            yield started
        return
    prepare(trial_of(settings), edge)
    with serving(request, address, sys.stderr) as (state, server), in_front(settings, edge):
        state.edge = edge.url
        yield state, server


def _request(config: "Config", require_signature: Path | None) -> "Request":
    from cli.photos import prepare_for
    from cli.verify import check_public_key
    from pipeline.settings.errors import UsageError
    from serving.launch.service import Request

    if config.pushes_to_uri:
        raise UsageError(
            f"serve works on local folders; for push.destination = {config.serving_base} start "
            f"tensorflow_model_server with --model_base_path={config.serving_base}"
        )
    if require_signature:
        check_public_key("--require-signature", require_signature)
    return Request(
        directory=config.serving_dir,
        model_name=config.serving.model_name,
        kind=config.infra_validation.model_server,
        docker_image=config.infra_validation.docker_image,
        max_load_seconds=config.infra_validation.max_load_seconds,
        log=config.logs_dir / "serve.log",
        prepare=prepare_for(config),
        public_key=require_signature.resolve() if require_signature else None,
    )


def _print(state: "Serving", settings: "Config", host: str) -> None:
    from cli.invocation import command
    from data.example_picture import write_example
    from serving.client.connection import DEFAULT_ADDRESSES, Api

    picture = write_example(settings.base_dir, settings.workdir)
    labels = ", ".join(f"{name} = {number}" for name, number in state.labels.items())
    model = f"{state.edge or state.rest}/v1/models/{state.model_name}"
    server = "" if state.rest == DEFAULT_ADDRESSES[Api.REST] else f" --server {state.rest}"
    body = (
        '{\\"signature_name\\": \\"classify\\", \\"examples\\": [{\\"image\\": '
        f'{{\\"b64\\": \\"$(base64 -w0 {shlex.quote(str(picture))})\\"}}}}]}}'
    )
    lines = [
        f"{state.model_name} version {', '.join(map(str, state.versions))}"
        f"{f' ({labels})' if labels else ''}, by {state.server}",
        f"  why that server: {state.why}",
        f"  REST {state.rest}  gRPC {state.grpc}",
        *([f"  page {state.ui}"] if state.ui else []),
        *([f"  edge {state.edge}"] if state.edge else []),
        *([f"  log  {state.log}"] if state.log else []),
        *(_exposed(state, host)),
        "",
        "try:",
        f"  curl {model}",
        f'  curl -d "{body}" {model}:classify',
        f"  {command(f'predict {shlex.quote(str(picture))}{server}')}",
        "",
        "Ctrl-C stops it.",
    ]
    print("\n".join(lines), flush=True)


def _exposed(state: "Serving", host: str) -> list[str]:
    from serving.addresses import reachable_host
    from serving.launch.base import ServerKind

    if reachable_host(host) == host and state.kind is ServerKind.BINARY:
        return ["  tensorflow_model_server listens on all addresses; it has no flag for one"]
    return []
