"""`runner.py doctor`: whether a run would work here, and with what."""

import typer

from pipeline.options import (
    ConfigFile,
    Json,
    ModelServer,
    Overrides,
    Preset,
    Workdir,
    examples,
)

EXAMPLES = examples("doctor", "doctor --preset smoke", "doctor --json")

_BROKEN = 1


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
    from pipeline.config import load_config
    from pipeline.doctor.diagnosis import diagnose, print_diagnosis

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
