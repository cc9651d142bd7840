"""`runner.py run`: one run with its progress, its log file and its summary."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import ConfigFile, Json, ModelServer, Overrides, Preset, Workdir, examples

if TYPE_CHECKING:
    from pipeline.settings.config import Config

app = typer.Typer()


@app.command(
    epilog=examples(
        "",
        "run --preset smoke",
        "run --set training.epochs=12 --set evaluation.min_accuracy=0.92",
        "run --config mine.toml --workdir /data/fashion --json",
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
    as_json: Json = False,
) -> None:
    """Run the pipeline: data to a pushed model. Does nothing when nothing changed."""
    from cli.verify import check_signing_key
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
    raise typer.Exit(run_command(settings, as_json=as_json))


def run_command(config: "Config", *, as_json: bool) -> int:
    """Runs the pipeline and tells the user about it.

    Args:
        config: all settings.
        as_json: print the result as one JSON object on stdout, and all else on stderr.

    Returns:
        The process' exit code.
    """
    # Heavier than what the help needs.
    from cli.summary import print_summary
    from orchestration.local import new_result, run_pipeline
    from orchestration.progress import Progress
    from orchestration.terminal import redirect_to

    result = new_result(config)
    log = config.logs_dir / f"{result.run_id}.log"
    terminal = redirect_to(log)
    talk = terminal.stderr if as_json else terminal.stdout
    with Progress(talk) as progress:
        run_pipeline(config, result, progress)
    if log.stat().st_size:
        result.log = log
    else:
        log.unlink()
    if as_json:
        print(result.model_dump_json(), file=terminal.stdout)
    else:
        print_summary(result, config, talk)
    return result.status.exit_code
