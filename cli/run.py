"""`runner.py run`: one run with its progress, its log file and its summary."""

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import ConfigFile, Json, ModelServer, Overrides, Preset, Workdir, examples

if TYPE_CHECKING:
    from orchestration.local import Redo
    from pipeline.settings.config import Config

app = typer.Typer()

_BAD_USAGE = 2


@app.command(
    epilog=examples(
        "",
        "run --preset smoke",
        "run --set training.epochs=12 --set evaluation.min_accuracy=0.92",
        "run --config mine.toml --workdir /data/fashion --json",
        'run --from Evaluator --reason "the threshold was mistyped"',
    )
)
def run(
    workdir: Workdir = None,
    config: ConfigFile = None,
    preset: Preset = None,
    overrides: Overrides = None,
    model_server: ModelServer = None,
    baseline: Annotated[
        bool | None, typer.Option(help="Compare with the model being served. [yes]")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Do over what was refused or is up to date.")
    ] = False,
    from_node: Annotated[
        str | None, typer.Option("--from", metavar="NODE", help="Run this node and what follows.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Of --force or --from, for the record.")] = "",
    as_json: Json = False,
) -> None:
    """Run the pipeline: data to a pushed model. Does nothing when nothing changed."""
    from cli.verify import check_signing_key
    from orchestration.local import Redo
    from pipeline.settings.errors import UsageError
    from pipeline.settings.load import load_config

    settings = load_config(
        preset,
        config,
        overrides or [],
        workdir=workdir,
        infra_validation__model_server=model_server,
        evaluation__baseline=baseline,
    )
    check_signing_key(settings)
    redo = Redo(from_node) if force or from_node else None
    if reason and redo is None:
        raise UsageError("--reason belongs to --force or --from")
    raise typer.Exit(run_command(settings, as_json=as_json, redo=redo, reason=reason))


def run_command(
    config: "Config", *, as_json: bool, redo: "Redo | None" = None, reason: str = ""
) -> int:
    """Runs the pipeline and tells the user about it.

    Args:
        config: all settings.
        as_json: print the result as one JSON object on stdout, and all else on stderr.
        redo: what is done over, and recorded as an override.
        reason: for that record.

    Returns:
        The process' exit code.
    """
    # Heavier than what the help needs.
    from cli.summary import print_summary
    from orchestration.local import new_result, run_pipeline, sentence
    from orchestration.progress import Progress
    from orchestration.terminal import redirect_to
    from pipeline.settings.errors import UsageError
    from runs.exit_status import Status
    from runs.result import Override

    result = new_result(config)
    if redo:
        action = f"run --from {redo.from_node}" if redo.from_node else "run --force"
        result.overrides.append(Override(action=action, why=reason))
    log = config.logs_dir / f"{result.run_id}.log"
    terminal = redirect_to(log)
    talk = terminal.stderr if as_json else terminal.stdout
    try:
        with Progress(talk) as progress:
            run_pipeline(config, result, progress, redo)
    except UsageError as error:
        print(f"runner.py: {error}", file=terminal.stderr)
        return _BAD_USAGE
    except BaseException as error:
        # By now the descriptors 1 and 2 are the log's: nobody else could tell the user.
        logging.getLogger().exception("the run ended where it never should")
        result.finish(Status.FAILED, [sentence(error)])
    try:
        if log.stat().st_size:
            result.log = log
        else:
            log.unlink()
        if as_json:
            print(result.model_dump_json(), file=terminal.stdout)
        else:
            print_summary(result, config, talk)
    except BaseException as error:
        # What the run did is done, and its exit code the same; a closed pipe is a SystemExit.
        ended = f"{result.status} (exit code {result.status.exit_code})"
        print(f"runner.py: {ended}, not shown: {sentence(error)}", file=terminal.stderr)
    return result.status.exit_code
