"""`runner.py report`: the page of a run, opened or written again."""

import json
import logging
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options import ConfigFile, Json, Overrides, Preset, Workdir, examples

if TYPE_CHECKING:
    from pipeline.settings.config import Config
    from runs.result import RunResult

app = typer.Typer()

_FAILED = 1
_BAD_USAGE = 2


@app.command(
    epilog=examples(
        "report",
        "report --run 20261121-073304-586895 --no-open",
        "report --workdir /data/fashion --json",
    )
)
def report(
    run: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Write the page of this run again. [open the newest]"),
    ] = None,
    open_page: Annotated[
        bool | None, typer.Option("--open/--no-open", help="In the browser. [on a terminal]")
    ] = None,
    workdir: Workdir = None,
    config: ConfigFile = None,
    preset: Preset = None,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Show the report of a run: what it did, why it pushed or did not.

    With --run the page is written again, from the metadata if nothing else is left of the run.
    """
    from orchestration.terminal import redirect_to
    from pipeline.settings.errors import UsageError
    from pipeline.settings.load import load_config

    settings = load_config(preset, config, overrides or [], workdir=workdir)
    page = None if run else _newest_page(settings)
    stdout = sys.stdout
    if page is None:
        result = _kept_result(settings, run)
        # TensorFlow and TFX write a lot to standard error.
        log = settings.logs_dir / "report.log"
        terminal = redirect_to(log)
        stdout = terminal.stdout
        try:
            page = write_again(settings, run, result)
        except UsageError as error:
            print(f"runner.py: {error}", file=terminal.stderr)
            raise typer.Exit(_BAD_USAGE) from None
        except Exception as error:
            logging.getLogger().exception("no report")
            print(f"no report was written: {error}; the log is {log}", file=terminal.stderr)
            raise typer.Exit(_FAILED) from None
    if as_json:
        history = page.parent.parent / page.name
        found = {"run_id": page.parent.name, "report": str(page), "history": str(history)}
        print(json.dumps(found), file=stdout)
    else:
        print(page, file=stdout)
    if stdout.isatty() if open_page is None else open_page:
        webbrowser.open(page.as_uri())


def _newest_page(config: "Config") -> Path | None:
    """Returns the page of the newest run; None: it has none yet."""
    from pipeline.settings.errors import UsageError
    from runs.result import results

    newest = next(results(config.runs_dir), None)
    if newest is None:
        raise UsageError(
            f"there is no run in {config.workdir}: `python runner.py` makes one, "
            "--workdir says where another one is"
        )
    return newest.report if newest.report and newest.report.is_file() else None


def _kept_result(config: "Config", run: str | None) -> "RunResult | None":
    """Returns the result that is kept of a run, or of the newest; None: nothing is kept."""
    from pipeline.settings.errors import UsageError
    from runs.result import results

    for result in results(config.runs_dir):
        if run in (None, result.run_id):
            return result
    if config.metadata.host is None and not config.metadata_path.is_file():
        raise UsageError(f"there is neither a run {run} nor any metadata in {config.workdir}")
    return None


def write_again(config: "Config", run: str | None, result: "RunResult | None") -> Path:
    """Writes the page of a run again, and its result if that was lost.

    Args:
        config: settings with which the metadata is found.
        run: the run; None: that of `result`.
        result: what is kept of it; None: it is rebuilt from the metadata.

    Raises:
        UsageError: the metadata knows no such run.
    """
    from reporting.write import write_report

    ir = None
    if result is None or result.nodes:
        # Takes seconds to import.
        from orchestration.compiler import compile_pipeline
        from runs.rebuild import result_from_metadata

        ir = compile_pipeline(config)
        result = result or result_from_metadata(ir, run or "")
    result.report = write_report(result, config.workdir, config.serving_base, ir)
    result.write(config.runs_dir)
    return result.report
