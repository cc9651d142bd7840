"""Runs the pipeline on this machine, unless there is nothing to do; imports nothing heavy."""

import errno
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from components.idx_example_gen.parameters import choose_spans
from data.fashion_mnist import DatasetError, obtain
from data.layout import spans_folder
from data.refusal import DataRefused
from data.spans import not_read
from files import lock
from files.memory import FileMemory
from orchestration.interrupt import insistent_interrupts
from orchestration.progress import Progress
from orchestration.run_metrics import write_run_metrics
from pipeline.fingerprint import basis_of, node_fingerprints, run_fingerprint
from pipeline.settings.config import Config
from pipeline.settings.errors import UsageError
from runs import history
from runs.blame import settle_blame
from runs.exit_status import Status
from runs.result import RunResult
from runs.retention import Recorded, clean_after_run
from serving.quick_imports import quick_imports
from serving.versions.store import VersionStore

if TYPE_CHECKING:
    from tfx.proto.orchestration import pipeline_pb2


# What SQLite says through ML Metadata, in the middle of a query.
_SQLITE_FULL = "database or disk is full"

_FROM_THE_RECORD = (Status.UP_TO_DATE, *(status for status in Status if status.is_refusal))


@dataclass(frozen=True)
class Redo:
    """What a person wants done over.

    Attributes:
        from_node: this node and what follows it; None: what decided the last identical run.
    """

    from_node: str | None = None

    def nodes(self, earlier: RunResult | None) -> tuple[str, ...]:
        """Returns the nodes whose outputs in the cache do not count."""
        if self.from_node:
            return (self.from_node,)
        return history.deciding_nodes(earlier.status) if earlier else ()


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


def run_pipeline(
    config: Config, result: RunResult, progress: Progress, redo: Redo | None = None
) -> None:
    """Runs the pipeline, or finds that an identical run has already been judged.

    However it ends is in `result` afterwards, and under the workdir's `runs/` where that can be
    written and the workdir is not another run's.

    Args:
        config: all settings.
        result: a new result; it is filled in.
        progress: is told what goes on.
        redo: what is done over although the record has it.
    """
    try:
        with lock.exclusive(config.workdir):
            _run_alone(config, result, progress, redo)
            if result.nodes or result.status not in _FROM_THE_RECORD:
                _keep(config, result, progress)
    except lock.WorkdirBusy as busy:
        result.finish(Status.BUSY, [str(busy)])
    except OSError as error:
        result.finish(Status.FAILED, [sentence(error)])
        with suppress(OSError):
            result.write(config.runs_dir)
    write_run_metrics(config, result)


def _run_alone(config: Config, result: RunResult, progress: Progress, redo: Redo | None) -> None:
    try:
        history.close_killed_runs(config.runs_dir)
        with insistent_interrupts():
            _run_or_repeat(config, result, progress, redo)
    except DataRefused as refused:
        result.finish(Status.DATA_REFUSED, refused.reasons)
        result.blamed_spans = refused.blamed_spans
        settle_blame(config.data_root, config.runs_dir, result)
    except KeyboardInterrupt:
        result.finish(Status.INTERRUPTED, ["interrupted; the next run goes on from the cache"])
    except UsageError:
        raise
    except Exception as error:
        logging.getLogger().exception("the run failed")
        result.finish(Status.FAILED, [sentence(error)])


def _run_or_repeat(
    config: Config, result: RunResult, progress: Progress, redo: Redo | None
) -> None:
    memory = FileMemory(config.file_memory)
    if redo:
        memory.forget()
    if config.fetches_data:
        obtain(config.base_dir, config.data.source, memory=memory)
    store = VersionStore(config.serving_base)
    served = store.newest_served()
    record = served.record if served else None
    spans = choose_spans(config.data_root, config.data.window, record, memory=memory)
    for line in not_read(spans_folder(config.data_root)):
        progress.say(line)
    result.spans, result.new_spans = list(spans.spans), list(spans.new)
    nodes = node_fingerprints(config, memory)
    result.basis = basis_of(nodes)
    result.fingerprint = run_fingerprint(config, spans, nodes, memory)
    memory.save()
    result.baseline_version = served.number if served else None
    intact = served is None or store.is_intact(served)
    earlier = history.identical_run(config.runs_dir, result) if intact else None
    if earlier and not redo:
        history.repeat(earlier, result)
        if result.blamed_spans:
            # They were released, and are what they were: else no run went on without them.
            settle_blame(config.data_root, config.runs_dir, result)
        return
    progress.phase("loading TensorFlow and TFX")
    # Takes seconds to import, which a run with nothing to do does not spend.
    with quick_imports():
        from orchestration.node_loop import run_nodes

    run_nodes(config, result, progress, redo.nodes(earlier) if redo else ())


def _keep(config: Config, result: RunResult, progress: Progress) -> None:
    """Writes the result and its page; where that fails, the run ends as it did, and says so."""
    try:
        result.write(config.runs_dir)
        _clean(config, result)
        _report(config, result, progress)
    except OSError as error:
        result.reasons.append(f"the result could not be written: {sentence(error)}")


def _clean(config: Config, result: RunResult) -> None:
    """Removes what only old runs needed; before the report, which does not link to it then."""
    connection = None
    if result.nodes:
        # Imports TFX, as the nodes did.
        from pipeline.metadata_connection import connection_config

        connection = connection_config(config)
    clean_after_run(
        config.workdir,
        config.serving_base,
        config.retention.runs,
        connection,
        Recorded(config.recordings_dir, config.traffic.keep_days),
    )


def sentence(error: BaseException) -> str:
    """Says what went wrong, and where; for people."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    if isinstance(error, DatasetError):
        return str(error)
    text = str(error)
    if _SQLITE_FULL in text:
        return f"{os.strerror(errno.ENOSPC)}: the metadata could not be written"
    return f"{type(error).__name__}: {text}"


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
