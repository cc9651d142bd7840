"""Which spans a refusal is put down to: only those against which there is evidence."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from data import spans
from data.quarantine import quarantined
from runs.blame import settle_blame
from runs.exit_status import Status
from runs.result import RunResult

MISSED = "accuracy on the held-out part of span-3 is 0.1, required is at least 0.4"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for value in (1, 2, 3):
        spans.add(tmp_path, np.full([4, 28, 28], value, np.uint8), np.zeros(4, np.uint8))
    return tmp_path


def ended(root: Path, run_id: str, status: Status, *reasons: str, **values: object) -> RunResult:
    result = RunResult(run_id=run_id, started_at=datetime.now(UTC), basis="same", **values)
    result.finish(status, list(reasons))
    result.write(root / "runs")
    return result


def settle(root: Path, result: RunResult) -> RunResult:
    settle_blame(root, root / "runs", result)
    return result


def test_refused_data_is_put_down_to_the_spans_that_the_refusal_names(root: Path) -> None:
    refused = ended(root, "b", Status.DATA_REFUSED, "span 3 is corrupt", blamed_spans=[1, 3])
    assert settle(root, refused).blamed_spans == [1, 3]
    assert {n: q.reason for n, q in quarantined(root).items()} == {
        1: "span 3 is corrupt",
        3: "span 3 is corrupt",
    }


def test_each_span_is_quarantined_for_its_own_reasons(root: Path) -> None:
    for value in range(4, 12):
        spans.add(root, np.full([4, 28, 28], value, np.uint8), np.zeros(4, np.uint8))
    one = "/data/spans/1/images-idx3-ubyte.gz: truncated"
    drift = "split span-11, feature mean_pixel: too far"
    everywhere = "split train, feature label: Out-of-range values"
    refused = ended(root, "b", Status.DATA_REFUSED, one, drift, everywhere, blamed_spans=[1, 2, 11])
    settle(root, refused)
    assert {n: q.reason for n, q in quarantined(root).items()} == {
        1: one,
        2: f"{one}; {drift}; {everywhere}",
        11: drift,
    }


def test_refused_data_that_names_no_span_keeps_the_data_and_says_where_to_look(root: Path) -> None:
    refused = ended(root, "b", Status.DATA_REFUSED, "label: out of domain", new_spans=[3])
    settle(root, refused)
    assert quarantined(root) == {}
    assert "no span was quarantined" in refused.reasons[1]
    assert "look at the schema" in refused.reasons[1]


def test_a_missed_threshold_is_the_spans_fault_where_the_same_settings_passed(root: Path) -> None:
    ended(root, "a", Status.PUSHED)
    settle(root, ended(root, "b", Status.NOT_BLESSED, MISSED, blamed_spans=[3], new_spans=[3]))
    assert {n: q.reason for n, q in quarantined(root).items()} == {3: MISSED}


@pytest.mark.parametrize(
    ("earlier", "basis"),
    [(Status.PUSHED, "other"), (Status.NOT_BLESSED, "same"), (Status.FAILED, "same"), (None, "")],
)
def test_a_missed_threshold_under_settings_that_never_passed_is_nobodys_fault(
    root: Path, earlier: Status | None, basis: str
) -> None:
    if earlier:
        result = ended(root, "a", earlier)
        result.basis = basis
        result.write(root / "runs")
    refused = ended(root, "b", Status.NOT_BLESSED, MISSED, blamed_spans=[3], new_spans=[3])
    settle(root, refused)
    assert quarantined(root) == {}
    assert refused.blamed_spans == []
    assert "have not passed with other data yet" in refused.reasons[-1]


def test_a_model_that_is_refused_otherwise_takes_no_span_out(root: Path) -> None:
    ended(root, "a", Status.PUSHED)
    settle(root, ended(root, "b", Status.NOT_BLESSED, "accuracy on the base", new_spans=[3]))
    settle(root, ended(root, "c", Status.INFRA_REFUSED, "too slow", new_spans=[3]))
    assert quarantined(root) == {}


def test_settling_a_refusal_twice_changes_nothing(root: Path) -> None:
    refused = ended(root, "b", Status.DATA_REFUSED, "bad", new_spans=[3])
    assert settle(root, settle(root, refused)).reasons.count(refused.reasons[1]) == 1


def test_a_quarantine_that_cannot_be_written_is_said_and_the_verdict_stays(root: Path) -> None:
    (root / "quarantine.json").mkdir()
    refused = ended(root, "b", Status.DATA_REFUSED, "span 3 is corrupt", blamed_spans=[3])
    settle(root, refused)
    assert refused.status is Status.DATA_REFUSED
    assert "span 3 could not be quarantined" in refused.reasons[-1]


def test_without_spans_there_is_nothing_to_leave_out(tmp_path: Path) -> None:
    refused = ended(tmp_path, "b", Status.DATA_REFUSED, "the base is corrupt")
    assert settle(tmp_path, refused).reasons == ["the base is corrupt"]
