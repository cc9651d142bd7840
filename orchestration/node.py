"""Runs one node of a compiled pipeline in a process of its own: what an orchestrator calls.

    python -m orchestration.node IR.json RUN_ID NODE_ID [--last-span N]

A node that is already complete in that run is left alone; one that failed or was killed is run
again. Progress and reasons go to standard error, a line each, and the output of TensorFlow, Beam
and TFX to `logs/<run id>.log` in the workdir. The exit codes are those of `runner.py`; only Pusher
exits with those of a refused model.
"""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from data.refusal import DataRefused
from files import lock
from orchestration.freshness import check_fresh
from orchestration.interrupt import insistent_interrupts
from orchestration.ir import read_ir, read_outline
from orchestration.progress import Progress
from orchestration.terminal import redirect_to
from pipeline.settings.errors import UsageError
from runs.exit_status import NodeState, Status
from runs.result import NodeResult
from serving.quick_imports import quick_imports

_BAD_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the node that the command line names and returns the exit code."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        workdir = _check(options)
    except UsageError as error:
        print(error, file=sys.stderr)
        return _BAD_USAGE
    terminal = redirect_to(workdir / "logs" / f"{options.run_id}.log")
    with Progress(terminal.stderr) as progress:
        code, reasons = _run(options, workdir, progress)
    for reason in reasons:
        print(reason, file=terminal.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run one node of a compiled pipeline.")
    parser.add_argument("ir", type=Path, metavar="IR.json", help="the compiled pipeline")
    parser.add_argument("run_id", metavar="RUN_ID", help="the run that the node belongs to")
    parser.add_argument("node_id", metavar="NODE_ID", help="which node")
    parser.add_argument(
        "--last-span", type=int, default=0, metavar="N", help="read no span after N [all]"
    )
    return parser


def _check(options: argparse.Namespace) -> Path:
    outline = read_outline(options.ir)
    if options.node_id not in outline.node_ids:
        known = ", ".join(outline.node_ids)
        raise UsageError(f"the pipeline has no node {options.node_id}; it has {known}")
    check_fresh(options.ir)
    return outline.workdir


def _run(options: argparse.Namespace, workdir: Path, progress: Progress) -> tuple[int, list[str]]:
    try:
        # An orchestrator may start an attempt beside one that it lost sight of, or beside that of
        # another run; a local run takes every execution that it finds for one of a dead process.
        with (
            lock.exclusive(workdir, options.node_id, wait=True),
            lock.shared(workdir, wait=True),
            insistent_interrupts(),
        ):
            return _run_alone(options, progress)
    except UsageError as error:
        return _BAD_USAGE, [str(error)]
    except DataRefused as refused:
        return Status.DATA_REFUSED.exit_code, refused.reasons
    except KeyboardInterrupt:
        return Status.INTERRUPTED.exit_code, ["interrupted; a retry runs the node again"]
    except Exception as error:
        logging.getLogger().exception("%s failed", options.node_id)
        return Status.FAILED.exit_code, [f"{type(error).__name__}: {error}"]


def _run_alone(options: argparse.Namespace, progress: Progress) -> tuple[int, list[str]]:
    progress.node_started(options.node_id)
    # Takes seconds to import.
    with quick_imports():
        from orchestration import launch
        from runs import executions

    ir = read_ir(options.ir)
    entry = NodeResult(id=options.node_id, state=NodeState.FAILED)
    started = time.monotonic()
    try:
        concrete = executions.with_run_id(ir, options.run_id, options.last_span)
        outcome = launch.run_node(concrete, options.node_id)
        entry.state = NodeState.CACHED if outcome.cached else NodeState.DONE
    except PermissionError:
        # What Pusher raises for a refused model when it is to fail.
        code, reasons = _refusal(options)
        if not code:
            raise
        return code, reasons
    finally:
        entry.seconds = round(time.monotonic() - started, 1)
        progress.node_finished(entry)
    return _refusal(options) if options.node_id == "Pusher" else (0, [])


def _refusal(options: argparse.Namespace) -> tuple[int, list[str]]:
    from runs.rebuild import result_from_metadata

    result = result_from_metadata(read_ir(options.ir), options.run_id)
    return (result.status.exit_code, result.reasons) if result.status.is_refusal else (0, [])


if __name__ == "__main__":
    sys.exit(main())
