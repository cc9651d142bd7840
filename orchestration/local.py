"""Runs the pipeline on this machine, unless there is nothing to do; imports nothing heavy."""

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from data.fashion_mnist import DatasetError, obtain
from data.refusal import DataRefused
from files import lock
from orchestration.progress import Progress
from pipeline.fingerprint import run_fingerprint
from pipeline.settings.config import Config
from runs import history
from runs.quarantine import name_refused_span, quarantine_refused_span
from runs.result import RunResult, Status
from serving.versions.store import VersionStore

if TYPE_CHECKING:
    from tfx.proto.orchestration import pipeline_pb2


def new_result(config: Config) -> RunResult:
    """Returns the result of a run that is about to begin."""
    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%d-%H%M%S-%f}"
    return RunResult(
        run_id=run_id,
        started_at=now,
        preset=config.preset,
        log=config.logs_dir / f"{run_id}.log",
    )


def run_pipeline(config: Config, result: RunResult, progress: Progress) -> None:
    """Runs the pipeline, or finds that an identical run has already been judged.

    Whatever happens is in `result` afterwards, and under the workdir's `runs/` if nodes were run.

    Args:
        config: all settings.
        result: a new result; it is filled in.
        progress: is told what goes on.
    """
    try:
        with lock.exclusive(config.workdir):
            _run_alone(config, result, progress)
    except lock.WorkdirBusy as busy:
        result.finish(Status.BUSY, [str(busy)])


def _run_alone(config: Config, result: RunResult, progress: Progress) -> None:
    try:
        if config.fetches_data:
            obtain(config.base_dir, config.data.source)
        result.fingerprint = run_fingerprint(config)
        store = VersionStore(config.serving_base)
        served = store.newest_served()
        result.baseline_version = served.number if served else None
        intact = served is None or store.is_intact(served)
        earlier = history.identical_run(config.runs_dir, result) if intact else None
        if earlier:
            history.repeat(earlier, result)
            return
        progress.phase("loading TensorFlow and TFX")
        # Takes seconds to import, which a run with nothing to do does not spend.
        from orchestration.node_loop import run_nodes

        run_nodes(config, result, progress)
    except DatasetError as error:
        result.finish(Status.DATA_REFUSED, [str(error)])
    except DataRefused as refused:
        result.finish(Status.DATA_REFUSED, refused.reasons)
        name_refused_span(config.data_root, config.data.window, result)
        quarantine_refused_span(config.data_root, result)
    except KeyboardInterrupt:
        result.finish(Status.INTERRUPTED, ["interrupted; the next run goes on from the cache"])
    except Exception as error:
        logging.getLogger().exception("the run failed")
        result.finish(Status.FAILED, [f"{type(error).__name__}: {error}"])
    result.write(config.runs_dir)
    _report(config, result, progress)


def _report(config: Config, result: RunResult, progress: Progress) -> None:
    from reporting.write import attach_report

    def compiled() -> "pipeline_pb2.Pipeline":
        from orchestration.compiler import compile_pipeline

        return compile_pipeline(config)

    progress.phase("writing the report")
    attach_report(
        result, config.workdir, config.serving_base, compiled=compiled if result.nodes else None
    )
    result.write(config.runs_dir)
