"""Writes what a run did to the workdir's `runs/` and `reports/`: an orchestrator's last task.

python -m orchestration.record_result IR.json RUN_ID
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.ir import read_ir, read_outline
from orchestration.terminal import redirect_to
from pipeline.settings.errors import UsageError
from runs.blame import settle_blame

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
        "--last-span", type=int, default=0, metavar="N", help="the newest that was read [any]"
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
    from runs.rebuild import result_from_metadata

    try:
        ir = read_ir(options.ir)
        result = result_from_metadata(ir, options.run_id)
    except UsageError as error:
        print(error, file=terminal.stderr)
        return _BAD_USAGE
    settle_blame(_data_root(ir), workdir / "runs", result)
    result.write(workdir / "runs")
    attach_report(result, workdir, _serving_base(ir), compiled=lambda: ir)
    result.write(workdir / "runs")
    print(result.model_dump_json(), file=terminal.stdout)
    return 0


def _data_root(ir: "pipeline_pb2.Pipeline") -> Path:
    for node in ir.nodes:
        parameters = node.pipeline_node.parameters.parameters
        if "input_base" in parameters:
            return Path(parameters["input_base"].field_value.string_value)
    raise UsageError("the pipeline reads no data")


def _serving_base(ir: "pipeline_pb2.Pipeline") -> str:
    for node in ir.nodes:
        parameters = node.pipeline_node.parameters.parameters
        if "serving_dir" in parameters:
            return str(parameters["serving_dir"].field_value.string_value)
    raise UsageError("the pipeline serves no model")


if __name__ == "__main__":
    sys.exit(main())
