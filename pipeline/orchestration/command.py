"""`runner.py run`: one run with its progress, its log file and its summary."""

from pipeline.config import Config
from pipeline.orchestration.local import new_result, run
from pipeline.orchestration.output import redirect_to
from pipeline.orchestration.progress import Progress
from pipeline.orchestration.summary import print_summary


def run_command(config: Config, *, as_json: bool) -> int:
    """Runs the pipeline and tells the user about it.

    Args:
        config: all settings.
        as_json: print the result as one JSON object on stdout, and all else on stderr.

    Returns:
        The process' exit code.
    """
    result = new_result(config)
    log = config.logs_dir / f"{result.run_id}.log"
    terminal = redirect_to(log)
    talk = terminal.stderr if as_json else terminal.stdout
    with Progress(talk) as progress:
        run(config, result, progress)
    if log.stat().st_size:
        result.log = log
    else:
        log.unlink()
    if as_json:
        print(result.model_dump_json(), file=terminal.stdout)
    else:
        print_summary(result, config, talk)
    return result.status.exit_code
