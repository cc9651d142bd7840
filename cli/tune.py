"""`runner.py tune`: a run that searches its hyperparameters first."""

from typing import Annotated

import typer

from cli import options

app = typer.Typer()


@app.command(
    epilog=options.examples(
        "tune --preset default --minutes 60",
        """tune --set tuning.epochs=6 --set 'tuning.parameters=["learning_rate", "filters"]'""",
        "run --config var/tuned.toml",
    )
)
def tune(
    minutes: Annotated[
        float | None, typer.Option(help="Time for the search. [tuning.minutes]")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="At most this many trials. [tuning.trials]")
    ] = None,
    workdir: options.Workdir = None,
    config: options.ConfigFile = None,
    preset: options.Preset = None,
    overrides: options.Overrides = None,
    model_server: options.ModelServer = None,
    as_json: options.Json = False,
) -> None:
    """Search hyperparameters, then run the pipeline with the best.

    The search is by short trainings. The best values are printed and written to tuned.toml in the
    workdir, for --config.
    """
    from cli.run import run_command
    from pipeline.settings.load import load_config

    settings = load_config(
        preset,
        config,
        overrides or [],
        workdir=workdir,
        infra_validation__model_server=model_server,
        tuning__enabled=True,
        tuning__minutes=minutes,
        tuning__trials=trials,
    )
    raise typer.Exit(run_command(settings, as_json=as_json))
