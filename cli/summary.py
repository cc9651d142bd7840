"""What a run says at its end: the verdict, the quality of every class, and what to type next."""

from typing import TextIO

from rich.console import Console
from rich.table import Table

from cli.invocation import command
from orchestration.console import plain_console
from pipeline.settings.config import Config
from pipeline.tuning.as_settings import toml_snippet, tuned_file
from runs.exit_status import Status
from runs.result import RunResult

_HEADLINES = {
    Status.PUSHED: "pushed version {version} to {serving_dir}",
    Status.PUSHED_UNCONFIRMED: "pushed version {version} to {serving_dir}, unconfirmed",
    Status.UP_TO_DATE: "nothing new: version {version} is up to date",
    Status.NOT_BLESSED: "not pushed: the model did not reach its thresholds",
    Status.INFRA_REFUSED: "not pushed: infra validation refused the model",
    Status.DATA_REFUSED: "not pushed: the data was refused",
    Status.ROLLED_BACK: "rolled back: version {version} is not served",
    Status.BUSY: "not started: the workdir is busy",
    Status.INTERRUPTED: "interrupted",
    Status.FAILED: "failed",
}


def print_summary(result: RunResult, config: Config, stream: TextIO) -> None:
    """Prints the end of a run for a person; the verdict is the last line unless pushed.

    Args:
        result: of a run that is over.
        config: its settings.
        stream: where to print.
    """
    console = plain_console(stream)
    if result.classes and result.status is not Status.UP_TO_DATE:
        console.print()
        console.print(_quality_table(result))
        if result.churn is not None:
            console.print(f"against the served model, {result.churn:.2%} of the labels change")
        if result.live_churn is not None:
            console.print(f"of what production asked, {result.live_churn:.2%} of the labels change")
    if result.tuned:
        console.print(f"\nthe best hyperparameters, for --config in {tuned_file(config)}:")
        console.print(toml_snippet(config, result.tuned).rstrip())
    headline = _HEADLINES[result.status].format(
        version=result.version, serving_dir=config.serving_base
    )
    console.print()
    for reason in result.reasons:
        console.print(f"  - {reason}")
    if result.status in (Status.FAILED, Status.INFRA_REFUSED):
        console.print(f"  the log is {result.log}")
    if result.report:
        console.print(f"  the report is {result.report}")
    console.print(f"{headline} (exit code {result.status.exit_code})")
    if result.status is Status.PUSHED:
        _print_next_steps(console, config)


def _quality_table(result: RunResult) -> Table:
    title = f"accuracy {result.accuracy:.4f}"
    if result.calibration_error is not None:
        title += f", calibration error {result.calibration_error:.4f}"
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("class")
    for name in ("precision", "recall", "AUC"):
        table.add_column(name, justify="right")
    for label, quality in result.classes.items():
        table.add_row(
            label, f"{quality.precision:.3f}", f"{quality.recall:.3f}", f"{quality.auc:.4f}"
        )
    return table


def _print_next_steps(console: Console, config: Config) -> None:
    console.print("\nnext:")
    for line in (
        command("serve --ui", config.workdir),
        command("predict photo.jpg"),
        command("models list", config.workdir),
    ):
        console.print(f"  {line}")
