"""Which span a run leaves out of later windows when its data was refused."""

from pathlib import Path

import numpy as np
import pytest

from data import spans
from pipeline.orchestration.quarantine import quarantine_newest_span


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for value in (1, 2, 3):
        spans.add(tmp_path, np.full([4, 28, 28], value, np.uint8), np.zeros(4, np.uint8))
    return tmp_path


def test_the_newest_span_that_the_run_read_is_left_out(root: Path) -> None:
    quarantine_newest_span(root, 2, ["span 3 is bad"])
    assert {n: q.reason for n, q in spans.quarantined(root).items()} == {3: "span 3 is bad"}
    quarantine_newest_span(root, 1, ["so is 2"])
    assert list(spans.quarantined(root)) == [2, 3]


def test_a_run_for_the_past_leaves_later_spans_alone(root: Path) -> None:
    quarantine_newest_span(root, 1, ["span 2 is bad"], last_span=2)
    assert list(spans.quarantined(root)) == [2]


def test_an_unsound_official_file_is_no_spans_fault(root: Path) -> None:
    quarantine_newest_span(root, 1, [f"{root}/official/t10k-labels-idx1-ubyte: truncated"])
    assert spans.quarantined(root) == {}


def test_without_spans_there_is_nothing_to_leave_out(tmp_path: Path) -> None:
    quarantine_newest_span(tmp_path, 1, ["bad"])
    assert spans.quarantined(tmp_path) == {}
