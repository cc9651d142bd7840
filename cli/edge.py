"""`runner.py edge`: nginx in front of a model server that runs elsewhere, as in a container."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.canary import trial_of
from cli.options import ConfigFile, Json, Overrides, Workdir, examples
from cli.outcome import say

if TYPE_CHECKING:
    from pipeline.settings.config import Config
    from serving.edge.recorder import RecorderSettings
    from serving.edge.values import Edge

app = typer.Typer()


@app.command(epilog=examples("edge --rest serving:8501 --grpc serving:8500 --host 0.0.0.0"))
def edge(
    rest: Annotated[str, typer.Option(metavar="HOST:PORT", help="Of the model server's REST API.")],
    grpc: Annotated[str, typer.Option(metavar="HOST:PORT", help="Of its gRPC API.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 is all of them.")
    ] = "127.0.0.1",
    edge_port: Annotated[int, typer.Option(min=1, max=65535, help="Of REST.")] = 8080,
    edge_grpc_port: Annotated[int, typer.Option(min=1, max=65535, help="Of gRPC.")] = 8081,
    workdir: Workdir = None,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Run nginx, and what records and judges, in front of a model server that runs elsewhere.

    The edge is that of `serve --edge`. The workdir has the model's versions (they may be read-only,
    unless canary.judge_every_seconds is set), the access log and the recording.
    """
    from pipeline.settings.errors import UsageError
    from pipeline.settings.load import load_config
    from serving.edge.canary import CanaryError
    from serving.edge.running import check
    from serving.edge.values import EdgeError

    settings = load_config(None, config, overrides or [], workdir=workdir)
    front = edge_of(settings, rest, grpc, host, edge_port, edge_grpc_port)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        check(front)
        with in_front(settings, front):
            say(as_json, {"edge": front.url, "rest": rest, "grpc": grpc}, f"edge {front.url}")
            sys.stdout.flush()
            stopping.wait()
    except (EdgeError, CanaryError) as error:
        raise UsageError(str(error)) from None


@contextmanager
def in_front(settings: "Config", edge: "Edge") -> Iterator[None]:
    """Runs an edge, and what the settings have beside it, for the length of a `with` block."""
    from serving.edge.judge import Judge, judging
    from serving.edge.running import running_edge

    recorder = _recorder(settings, edge) if edge.records else None
    limits = settings.canary.limits(records=edge.records)
    judge = Judge(trial_of(settings, edge.rest), edge.folder, limits)
    every = settings.canary.judge_every_seconds
    log_bytes = settings.edge.access_log_megabytes * 1_000_000
    with (
        running_edge(edge, recorder, log_bytes, sys.stderr),
        judging(judge, every, sys.stderr) if every else nullcontext(),
    ):
        yield


def edge_of(
    settings: "Config", rest: str, grpc: str, host: str, port: int, grpc_port: int
) -> "Edge":
    """Returns the edge of the settings in front of a server, `host:port` of its REST and gRPC."""
    from files.paths import resolved
    from serving.edge.values import Edge
    from serving.launch.base import free_ports

    def given(path: Path | None) -> Path | None:
        return resolved(path) if path else None

    chosen = settings.edge
    return Edge(
        model_name=settings.serving.model_name,
        base=settings.serving_dir,
        rest=rest,
        grpc=grpc,
        folder=settings.edge_dir.resolve(),
        host=host,
        port=port,
        grpc_port=grpc_port,
        certificate=given(chosen.certificate),
        key=given(chosen.key),
        tokens=given(chosen.tokens),
        passwords=given(chosen.passwords),
        max_body_megabytes=chosen.max_body_megabytes,
        requests_per_second=chosen.requests_per_second,
        burst=chosen.burst,
        connections_per_address=chosen.connections_per_address,
        sticky_header=chosen.sticky_header,
        sample=settings.traffic.sample,
        recorder=f"127.0.0.1:{free_ports(1)[0]}",
    )


def _recorder(settings: "Config", edge: "Edge") -> "RecorderSettings":
    from serving.edge.recorder import RecorderSettings

    return RecorderSettings(
        port=int(edge.recorder.rpartition(":")[2]),
        grpc=edge.grpc,
        model_name=edge.model_name,
        base=edge.base,
        directory=settings.recordings_dir,
        answer_log=edge.answer_log,
        max_file_megabytes=settings.traffic.max_file_megabytes,
        max_megabytes=settings.traffic.max_megabytes,
    )
