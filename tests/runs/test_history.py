"""When an earlier run's verdict still holds."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from runs.exit_status import NodeState, Status
from runs.history import close_killed_runs, identical_run, repeat
from runs.result import NodeResult, RunResult, results


def a_run(run_id: str = "b", fingerprint: str = "same", **values) -> RunResult:
    return RunResult(run_id=run_id, fingerprint=fingerprint, started_at=datetime.now(UTC), **values)


def test_a_push_holds_while_its_version_is_served(tmp_path: Path) -> None:
    a_run("a", status=Status.PUSHED, version=5).write(tmp_path)
    earlier = identical_run(tmp_path, a_run(baseline_version=5))
    assert earlier is not None

    result = a_run(baseline_version=5)
    repeat(earlier, result)
    assert (result.status, result.version) == (Status.UP_TO_DATE, 5)


def test_a_tuned_run_is_found_by_its_search_and_by_what_that_found(tmp_path: Path) -> None:
    tuned = {"dropout": 0.2}
    earlier = a_run(status=Status.PUSHED, version=5, search_fingerprint="search", tuned=tuned)
    earlier.write(tmp_path)

    for fingerprint, shown in (("same", {}), ("search", tuned)):
        result = a_run(fingerprint=fingerprint, baseline_version=5)
        found = identical_run(tmp_path, result)
        assert found is not None
        repeat(found, result)
        assert result.tuned == shown


@pytest.mark.parametrize("served", [None, 4, 6])
def test_a_push_does_not_hold_when_something_else_is_served(
    tmp_path: Path, served: int | None
) -> None:
    a_run("a", status=Status.PUSHED, version=5).write(tmp_path)
    assert identical_run(tmp_path, a_run(baseline_version=served)) is None


@pytest.mark.parametrize(
    "status",
    [Status.NOT_BLESSED, Status.INFRA_REFUSED, Status.DATA_REFUSED, Status.ROLLED_BACK],
)
def test_a_refusal_is_repeated_with_its_reasons(tmp_path: Path, status: Status) -> None:
    a_run("a", status=status, baseline_version=5, reasons=["too slow"]).write(tmp_path)
    earlier = identical_run(tmp_path, a_run(baseline_version=5))
    assert earlier is not None

    result = a_run(baseline_version=5)
    repeat(earlier, result)
    assert (result.status, result.reasons) == (status, ["too slow"])


def test_a_refusal_does_not_hold_against_another_served_model(tmp_path: Path) -> None:
    a_run("a", status=Status.NOT_BLESSED, baseline_version=5).write(tmp_path)
    assert identical_run(tmp_path, a_run(baseline_version=4)) is None


@pytest.mark.parametrize("status", [Status.FAILED, Status.INTERRUPTED])
def test_a_run_that_came_to_no_verdict_is_passed_over(tmp_path: Path, status: Status) -> None:
    a_run("a", status=Status.PUSHED, version=5).write(tmp_path)
    a_run("b", status=status, baseline_version=5).write(tmp_path)
    earlier = identical_run(tmp_path, a_run("c", baseline_version=5))
    assert earlier is not None
    assert earlier.run_id == "a"


def test_a_different_fingerprint_is_a_different_run(tmp_path: Path) -> None:
    a_run("a", fingerprint="other", status=Status.PUSHED, version=5).write(tmp_path)
    assert identical_run(tmp_path, a_run(baseline_version=5)) is None


def test_a_run_that_was_killed_is_given_its_reason_and_its_end(tmp_path: Path) -> None:
    nodes = [
        NodeResult(id="Transform", state=NodeState.CACHED),
        NodeResult(id="Trainer", state=NodeState.PENDING),
        NodeResult(id="Evaluator", state=NodeState.PENDING),
    ]
    a_run("killed", nodes=nodes).write(tmp_path)
    a_run("before its first node").write(tmp_path)
    pushed = a_run("pushed")
    pushed.finish(Status.PUSHED)
    pushed.write(tmp_path)

    close_killed_runs(tmp_path)
    found = {result.run_id: result for result in results(tmp_path)}
    assert found["pushed"] == pushed
    assert found["killed"].reasons == [
        "the run came to no end: its process was killed during Trainer, or the machine went down"
    ]
    assert [node.state for node in found["killed"].nodes] == [
        NodeState.CACHED,
        NodeState.FAILED,
        NodeState.SKIPPED,
    ]
    [reason] = found["before its first node"].reasons
    assert "was killed, or" in reason
    assert all(result.finished_at for result in found.values())


def test_without_results_no_run_was_killed(tmp_path: Path) -> None:
    close_killed_runs(tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
