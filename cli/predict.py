"""`runner.py predict`: labels with scores for pictures, from a running model server."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import ConfigFile, Json, Overrides, examples

if TYPE_CHECKING:
    from serving.client.files import Answer
    from serving.client.interface import ModelClient

app = typer.Typer()

_SOME_FAILED = 1


@app.command(
    epilog=examples(
        "predict photo.jpg",
        "predict photos/ --top 1 --json",
        "predict photo.jpg --grpc --label stable",
        "predict photo.jpg --server otherhost:8501 --version 1795238065",
    )
)
def predict(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, and folders of them.")],
    server: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="[localhost:8501; with --grpc, localhost:8500]"),
    ] = None,
    grpc: Annotated[
        bool, typer.Option("--grpc/--rest", help="Which API of the server to use.")
    ] = False,
    version: Annotated[int | None, typer.Option(help="Which version answers. [newest]")] = None,
    label: Annotated[str | None, typer.Option(help="Which label answers: stable, ...")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many labels for each.")] = 3,
    raw: Annotated[
        bool, typer.Option("--raw", help="Send the files as they are, not prepared.")
    ] = False,
    batch: Annotated[int, typer.Option(min=1, help="Pictures in one request.")] = 64,
    config: ConfigFile = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Ask a running server what is on pictures; best label first.

    Photos of clothes are made into what the model was trained on, others are turned upright: see
    docs/predict.md. Exit code 1 when a file could not be read; all others are answered.
    """
    from cli.photos import prepare_for
    from orchestration.progress import Progress
    from pipeline.settings.errors import UsageError
    from pipeline.settings.load import load_config
    from serving.client.connection import Api, connect
    from serving.client.errors import ClientError
    from serving.client.files import classify_files, find_pictures

    if version is not None and label is not None:
        raise UsageError("give --version or --label, not both")
    settings = load_config(None, config, overrides or [])
    pictures = find_pictures(paths)
    if not pictures:
        raise UsageError(f"there is no picture in {', '.join(map(str, paths))}")
    try:
        client = connect(settings.serving.model_name, Api.GRPC if grpc else Api.REST, server)
    except ClientError as error:
        raise UsageError(f"--server: {error.message}") from None
    with (
        _told(client, settings.serving.model_name, server, grpc, label),
        Progress(sys.stderr) as progress,
    ):
        answers = list(
            classify_files(
                client,
                pictures,
                prepare=None if raw else prepare_for(settings),
                version=version,
                label=label,
                batch_size=batch,
                on_answers=progress.counter("predicting", len(pictures)),
            )
        )
    if as_json:
        _print_json(answers, settings.serving.model_name, top)
    else:
        _print(answers, top)
    if any(answer.problem for answer in answers):
        raise typer.Exit(_SOME_FAILED)


@contextmanager
def _told(
    client: "ModelClient", model: str, server: str | None, grpc: bool, label: str | None
) -> Iterator[None]:
    """Turns what the server answers into one sentence that says what to type."""
    from cli.invocation import command
    from pipeline.settings.errors import UsageError
    from serving.client.connection import DEFAULT_ADDRESSES, Api
    from serving.client.errors import ClientError, NotFoundError, UnavailableError

    where = server or DEFAULT_ADDRESSES[Api.GRPC if grpc else Api.REST]
    try:
        yield
    except UnavailableError as error:
        raise UsageError(
            f"no model server answers at {where}; start one with "
            f"`{command('serve')}`, or name another with --server"
        ) from error
    except NotFoundError as error:
        raise UsageError(
            f"the server at {where} {_what_it_has(client, model)}; "
            f"`{command('models list')}` shows what was pushed"
        ) from error
    except ClientError as error:
        if label is not None and "label" in error.message:
            raise UsageError(
                f"the server at {where} knows no label {label!r}; "
                f"`{command(f'models label {label} VERSION')}` sets it, "
                "for servers that read models.config"
            ) from error
        raise UsageError(f"the server at {where} refuses: {error.message}") from error
    finally:
        client.close()


def _what_it_has(client: "ModelClient", model: str) -> str:
    from serving.client.errors import ClientError

    try:
        states = client.status()
    except ClientError:
        return f"does not serve a model called {model}"
    available = [str(item.version) for item in states if item.is_available]
    return f"serves version {', '.join(available) or 'none'} of {model} only"


def _print(answers: "Sequence[Answer]", top: int) -> None:
    from rich.text import Text

    from orchestration.console import plain_console

    out = plain_console(sys.stdout)
    width = max(len(str(answer.path)) for answer in answers)
    for answer in answers:
        if answer.problem is not None:
            print(f"{answer.path}: not predicted: {answer.problem}", file=sys.stderr)
            continue
        line = Text(f"{answer.path!s:<{width}}")
        for rank, (name, score) in enumerate(answer.labels[:top]):
            line.append(f"  {name} {score:.1%}", "bold" if rank == 0 else "")
        if not answer.plain_background:
            line.append("  (the background is not plain: see docs/predict.md)", "yellow")
        out.print(line)


def _print_json(answers: "Sequence[Answer]", model: str, top: int) -> None:
    done = [answer for answer in answers if answer.problem is None]
    failed = [answer for answer in answers if answer.problem is not None]
    result = {
        "model": model,
        "predictions": [
            {
                "file": str(answer.path),
                "labels": [{"label": name, "score": score} for name, score in answer.labels[:top]],
                "plain_background": answer.plain_background,
            }
            for answer in done
        ],
        "failed": [{"file": str(answer.path), "reason": answer.problem} for answer in failed],
    }
    print(json.dumps(result))
