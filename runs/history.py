"""Finds out whether a run would only repeat an earlier one, and which ones came to no end."""

from datetime import UTC, datetime
from pathlib import Path

from runs.exit_status import NodeState, Status
from runs.result import RunResult, results


def identical_run(runs_dir: Path, planned: RunResult) -> RunResult | None:
    """Returns the earlier run whose verdict still holds for the planned one, if there is one.

    A push holds while its version is the newest one served, a refusal while the model that it
    was compared with is.

    Args:
        runs_dir: where results are kept.
        planned: has the fingerprint, and as `baseline_version` what is being served now.
    """
    for earlier in results(runs_dir):
        if planned.fingerprint not in (earlier.fingerprint, earlier.search_fingerprint):
            continue
        if earlier.status.is_served:
            return earlier if earlier.version == planned.baseline_version else None
        if earlier.status.is_refusal:
            return earlier if earlier.baseline_version == planned.baseline_version else None
    return None


_DECIDING_NODES = {
    Status.NOT_BLESSED: ("Evaluator", "ModelDiff"),
    Status.INFRA_REFUSED: ("InfraValidator",),
    Status.DATA_REFUSED: ("IdxExampleGen",),
}


def deciding_nodes(status: Status) -> tuple[str, ...]:
    """Returns the nodes whose outputs decided that a run ended so."""
    return _DECIDING_NODES.get(status, ("Pusher",))


def repeat(earlier: RunResult, result: RunResult) -> None:
    """Ends a run with the verdict of the identical earlier one."""
    if result.fingerprint == earlier.search_fingerprint:
        result.tuned = earlier.tuned
    result.version = earlier.version
    result.accuracy = earlier.accuracy
    result.calibration_error = earlier.calibration_error
    result.classes = earlier.classes
    result.churn = earlier.churn
    result.live_churn = earlier.live_churn
    result.blamed_spans = earlier.blamed_spans
    result.model_server = earlier.model_server
    result.report = earlier.report
    status = earlier.status if earlier.status.is_refusal else Status.UP_TO_DATE
    result.finish(status, earlier.reasons)


def close_killed_runs(runs_dir: Path) -> None:
    """Says of every run that came to no end where it was killed.

    The caller makes sure that no run is at work.

    Args:
        runs_dir: where results are kept.

    Raises:
        OSError: a result cannot be written.
    """
    for killed in results(runs_dir):
        if killed.finished_at:
            continue
        written = (runs_dir / f"{killed.run_id}.json").stat().st_mtime
        done = (NodeState.DONE, NodeState.CACHED)
        unfinished = next((node for node in killed.nodes if node.state not in done), None)
        where = f" during {unfinished.id}" if unfinished else ""
        if unfinished:
            unfinished.state = NodeState.FAILED
        reason = f"the run came to no end: its process was killed{where}, or the machine went down"
        killed.finish(Status.FAILED, [reason])
        killed.finished_at = datetime.fromtimestamp(written, UTC)
        killed.write(runs_dir)
