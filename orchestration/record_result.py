"""Writes what a run did to the workdir's `runs/` and `reports/`: an orchestrator's last task.

python -m orchestration.record_result IR.json RUN_ID
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from files import lock
from orchestration.ir import read_ir, read_outline
from orchestration.terminal import redirect_to
from pipeline.settings.errors import UsageError
from runs.blame import settle_blame
from runs.retention import Recorded, clean_after_run

if TYPE_CHECKING:
    from tfx.proto.orchestration import pipeline_pb2

_BAD_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the result, prints it as JSON on standard output and returns the exit code.

    The code says whether the result was written, not what it is.
    """
    parser = argparse.ArgumentParser(description="Write the result of a run from its metadata.")
    parser.add_argument("ir", type=Path, metavar="IR.json", help="the compiled pipeline")
    parser.add_argument("run_id", metavar="RUN_ID", help="which run")
    parser.add_argument(
        "--keep-runs", type=int, default=0, metavar="N", help="remove what is older [keep all]"
    )
    parser.add_argument("--recordings", type=Path, metavar="DIR", help="of what clients asked")
    parser.add_argument(
        "--keep-recorded-days", type=int, default=0, metavar="N", help="likewise [keep all]"
    )
    options = parser.parse_args(arguments)
    try:
        workdir = read_outline(options.ir).workdir
    except UsageError as error:
        print(error, file=sys.stderr)
        return _BAD_USAGE
    terminal = redirect_to(workdir / "logs" / f"{options.run_id}.log")
    # Takes seconds to import.
    from reporting.write import attach_report
    from runs.executions import connection_of
    from runs.rebuild import result_from_metadata

    try:
        ir = read_ir(options.ir)
        data_root, serving_base = Path(_parameter(ir, "input_base")), _parameter(ir, "serving_dir")
        result = result_from_metadata(ir, options.run_id)
    except UsageError as error:
        print(error, file=terminal.stderr)
        return _BAD_USAGE
    settle_blame(data_root, workdir / "runs", result)
    result.write(workdir / "runs")
    try:
        # A node that is at work may belong to another run; the end of that one cleans up.
        with lock.exclusive(workdir):
            clean_after_run(
                workdir,
                serving_base,
                options.keep_runs,
                connection_of(ir),
                Recorded(options.recordings, options.keep_recorded_days)
                if options.recordings
                else None,
            )
    except lock.WorkdirBusy as busy:
        logging.getLogger(__name__).info("nothing is removed: %s", busy)
    attach_report(result, workdir, serving_base, compiled=lambda: ir)
    result.write(workdir / "runs")
    print(result.model_dump_json(), file=terminal.stdout)
    return 0


def _parameter(ir: "pipeline_pb2.Pipeline", name: str) -> str:
    for node in ir.nodes:
        parameters = node.pipeline_node.parameters.parameters
        if name in parameters and parameters[name].field_value.string_value:
            return str(parameters[name].field_value.string_value)
    raise UsageError(f"no node of the pipeline has the parameter {name}")


if __name__ == "__main__":
    sys.exit(main())
