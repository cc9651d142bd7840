"""`runner.py doctor`: what this machine has, what will be used, what to do about what is missing.

A check takes the settings and returns findings. None imports TensorFlow or waits for a network.
"""

import typer

from cli.options import (
    ConfigFile,
    Json,
    ModelServer,
    Overrides,
    Preset,
    Workdir,
    examples,
)

app = typer.Typer()

_BROKEN = 1


@app.command(epilog=examples("doctor", "doctor --preset smoke", "doctor --json"))
def doctor(
    workdir: Workdir = None,
    config: ConfigFile = None,
    preset: Preset = None,
    overrides: Overrides = None,
    model_server: ModelServer = None,
    as_json: Json = False,
) -> None:
    """Say what is here, what a run would use, and what is missing.

    For what is missing, it says what to do. Exit code 1 when something is broken that a run needs.
    """
    from cli.doctor.diagnosis import diagnose, print_diagnosis
    from pipeline.settings.load import load_config

    settings = load_config(
        preset,
        config,
        overrides or [],
        workdir=workdir,
        infra_validation__model_server=model_server,
    )
    diagnosis = diagnose(settings)
    if as_json:
        print(diagnosis.model_dump_json())
    else:
        print_diagnosis(diagnosis)
    if not diagnosis.healthy:
        raise typer.Exit(_BROKEN)
