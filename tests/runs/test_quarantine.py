"""Which span a run leaves out of later windows when its data was refused."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from data import spans
from data.quarantine import quarantined
from runs.quarantine import name_refused_span, quarantine_refused_span
from runs.result import RunResult, Status


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for value in (1, 2, 3):
        spans.add(tmp_path, np.full([4, 28, 28], value, np.uint8), np.zeros(4, np.uint8))
    return tmp_path


def refusal(status: Status, *reasons: str, refused_span: int | None = None) -> RunResult:
    result = RunResult(run_id="a", started_at=datetime.now(UTC), refused_span=refused_span)
    result.finish(status, list(reasons))
    return result


def settle(root: Path, window: int, result: RunResult, last_span: int | None = None) -> None:
    name_refused_span(root, window, result, last_span)
    quarantine_refused_span(root, result)


def test_refused_data_is_put_down_to_the_newest_span_that_was_read(root: Path) -> None:
    result = refusal(Status.DATA_REFUSED, "span 3 is bad")
    settle(root, 2, result)
    assert {n: q.reason for n, q in quarantined(root).items()} == {3: "span 3 is bad"}
    assert result.refused_span == 3
    settle(root, 1, refusal(Status.DATA_REFUSED, "so is 2"))
    assert list(quarantined(root)) == [2, 3]


def test_a_repeated_record_of_one_refusal_leaves_out_one_span(root: Path) -> None:
    result = refusal(Status.DATA_REFUSED, "span 3 is bad", refused_span=3)
    settle(root, 2, result)
    settle(root, 2, result)
    assert list(quarantined(root)) == [3]


def test_a_run_for_the_past_leaves_later_spans_alone(root: Path) -> None:
    result = refusal(Status.DATA_REFUSED, "span 2 is bad")
    settle(root, 1, result, last_span=2)
    assert list(quarantined(root)) == [2]


def test_an_unsound_official_file_is_no_spans_fault(root: Path) -> None:
    result = refusal(Status.DATA_REFUSED, f"{root}/base/t10k-labels-idx1-ubyte: truncated")
    settle(root, 1, result)
    assert quarantined(root) == {}


def test_a_model_that_missed_its_threshold_on_a_span_takes_that_span_out(root: Path) -> None:
    reason = "accuracy on the held-out part of span-3 is 0.1, required is at least 0.4"
    settle(root, 1, refusal(Status.NOT_BLESSED, reason, refused_span=3))
    assert {n: q.reason for n, q in quarantined(root).items()} == {3: reason}


def test_a_model_that_is_refused_otherwise_takes_no_span_out(root: Path) -> None:
    reason = "accuracy on the test images of the base is 0.1, required is at least 0.4"
    settle(root, 1, refusal(Status.NOT_BLESSED, reason))
    settle(root, 1, refusal(Status.INFRA_REFUSED, "too slow"))
    assert quarantined(root) == {}


def test_without_spans_there_is_nothing_to_leave_out(tmp_path: Path) -> None:
    settle(tmp_path, 1, refusal(Status.DATA_REFUSED, "bad"))
    assert quarantined(tmp_path) == {}
