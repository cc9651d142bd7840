"""Starts `runner.py` again and again without its imports: a process that has them forks for each.

    python -m benchmarks.simulated_year.launcher

Reads one JSON object a line from standard input, the fields of `commands.Command`, and answers with
two lines: the process id of the command, and its exit code once it has ended. The command is
`runner.py` in every way but one: TensorFlow, Beam and TFX are imported already, which saves much
of a day's time.
"""

import importlib
import json
import os
import resource
import runpy
import sys
import traceback
from typing import NoReturn

from benchmarks.simulated_year.clock import shift_clock
from pipeline.settings.paths import ROOT

# What a run imports; none of it starts a thread, which would not survive the fork.
_PRELOADED = (
    "cli.app",
    "cli.summary",
    "orchestration.local",
    "orchestration.node_loop",
    "reporting.write",
    "pipeline.evaluation",
    "pipeline.modeling.trainer",
    "tfx.components.evaluator.executor",
    "tfx.components.transform.executor",
    "tfx.components.trainer.executor",
    "tfx.components.statistics_gen.executor",
    "tfx.components.example_validator.executor",
    "components.idx_example_gen.executor",
    "components.infra_validator.executor",
    "components.pusher.executor",
    "serving.versions.rollback",
    "reporting.figures",
)


def main() -> None:
    """Answers until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for module in _PRELOADED:
        importlib.import_module(module)
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if not child:
            answers.close()
            _become(**command)
        print(child, file=answers)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=answers)


def _become(
    arguments: list[str], stdout: str, stderr: str, clock: float, largest_file: int
) -> NoReturn:
    """Runs the command in this process, which then ends."""
    code = 1
    try:
        for path, descriptor in ((os.devnull, 0), (stdout, 1), (stderr, 2)):
            opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(opened, descriptor)
            os.close(opened)
        if largest_file:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        if clock:
            shift_clock(clock)
        sys.argv = [str(ROOT / "runner.py"), *arguments]
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
