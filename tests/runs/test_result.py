"""What a run did can be kept, whatever a file is called."""

from datetime import UTC, datetime
from pathlib import Path

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
