"""Writes a run's page and the history page beside it; imports nothing heavy by itself."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from files.whole import write_whole
from reporting.history_page import PAGE_NAME, earlier_runs, history_page, page_of
from reporting.page import Page
from reporting.render import render_history, render_page
from runs.result import RunResult
from serving.versions.store import VersionStore

if TYPE_CHECKING:
    from tfx.proto.orchestration import pipeline_pb2

logger = logging.getLogger(__name__)


def attach_report(
    result: RunResult,
    workdir: Path,
    serving_base: str,
    compiled: "Callable[[], pipeline_pb2.Pipeline] | None" = None,
) -> None:
    """Writes the pages of a run and names the run's in its result; logs it if that fails.

    Args:
        result: of a run that is over; nothing else about it changes.
        workdir: where it ran.
        serving_base: the model's base path.
        compiled: returns the pipeline that it ran; None: no node was run.
    """
    try:
        ir = compiled() if compiled else None
        result.report = write_report(result, workdir, serving_base, ir)
    except KeyboardInterrupt:
        logger.warning("no report was written: interrupted")
    except Exception as error:
        logger.warning("no report was written: %s: %s", type(error).__name__, error)
        logging.getLogger().exception("no report was written")


def write_report(
    result: RunResult,
    workdir: Path,
    serving_base: str,
    ir: "pipeline_pb2.Pipeline | None" = None,
) -> Path:
    """Writes `reports/<run id>/index.html` and `reports/index.html`.

    Args:
        result: of a run that is over.
        workdir: where it ran.
        serving_base: the model's base path.
        ir: the pipeline that it ran; None: no node was run, and there is no more than the result.

    Returns:
        The run's page.

    Raises:
        MetadataUnreachable: the metadata does not answer.
        OSError: a page cannot be written.
    """
    page = Page(
        result=result,
        earlier=earlier_runs(workdir, before=result.started_at),
        baseline_page=_baseline_page(result, workdir, serving_base),
    )
    path = workdir / "reports" / result.run_id / PAGE_NAME
    if ir is None:
        write_whole(path, render_page(page))
        history = history_page(workdir, serving_base)
    else:
        # Imported here because they import TensorFlow and TFX: a run without nodes needs neither.
        from reporting.collect import collect
        from reporting.evidence import Evidence
        from runs.executions import open_metadata

        with open_metadata(ir) as handle:
            collect(page, ir, Evidence(handle.store, result.run_id))
            write_whole(path, render_page(page))
            history = history_page(workdir, serving_base, handle.store)
    write_whole(workdir / "reports" / PAGE_NAME, render_history(history))
    return path


def _baseline_page(result: RunResult, workdir: Path, serving_base: str) -> str | None:
    if result.baseline_version is None:
        return None
    baseline = VersionStore(serving_base).get(result.baseline_version)
    return page_of(workdir, baseline.record.run_id) if baseline and baseline.record else None
