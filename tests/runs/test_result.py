"""What a run did can be kept and read back, whatever files are called and became of."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from runs.exit_status import Status
from runs.result import Override, RunResult, results


def test_a_refusal_that_names_a_file_of_any_bytes_can_be_kept(tmp_path: Path) -> None:
    result = RunResult(run_id="a", started_at=datetime.now(UTC))
    result.overrides.append(Override(action="run --force", why="the caf\udce9 was closed"))
    result.finish(Status.DATA_REFUSED, ["caf\udce9.png: damaged", "\ud800: no name"])
    result.write(tmp_path)
    [read] = results(tmp_path)
    assert read.reasons == ["caf\\xe9.png: damaged", "\\ud800: no name"]
    assert read.overrides[0].why == "the caf\\xe9 was closed"


@pytest.mark.parametrize(
    "damage",
    [b"", b"\xff\xfe", b"{}", b'{"run_id": "b", "started_at": "2026-01-01T00:00:00"}'],
    ids=["empty", "no text", "another file", "a time without a zone"],
)
def test_a_damaged_result_costs_no_other(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    kept = RunResult(run_id="a", started_at=datetime.now(UTC))
    kept.write(tmp_path)
    (tmp_path / "b.json").write_bytes(damage)
    assert list(results(tmp_path)) == [kept]
    assert "b.json is damaged" in caplog.text
