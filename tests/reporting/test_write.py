"""Where the pages are written, what they link to, and that a run never fails for them."""

import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli import report
from orchestration.compiler import compile_pipeline
from pipeline.settings.errors import UsageError
from reporting.write import attach_report, write_report
from runs.exit_status import Status
from runs.result import RunResult
from tests.conftest import ROOT, SmokeRun, run_runner
from tests.reporting.conftest import Reported


def refused(run_id: str, **values: object) -> RunResult:
    now = datetime.now(UTC)
    return RunResult(
        run_id=run_id, started_at=now, finished_at=now, status=Status.DATA_REFUSED, **values
    )


def test_a_run_names_the_page_that_it_wrote(smoke_run: SmokeRun) -> None:
    result = smoke_run.result
    assert result.report == smoke_run.workdir / "reports" / result.run_id / "index.html"
    assert f"Pushed version {result.version}" in result.report.read_text()
    kept = smoke_run.workdir / "runs" / f"{result.run_id}.json"
    assert RunResult.model_validate_json(kept.read_text()).report == result.report


def test_a_run_with_nothing_to_do_refers_to_the_earlier_page(smoke_run: SmokeRun) -> None:
    again = run_runner(*smoke_run.arguments, "--json")
    assert RunResult.model_validate_json(again.stdout).report == smoke_run.result.report
    pages = list((smoke_run.workdir / "reports").glob("*/index.html"))
    assert pages == [smoke_run.result.report]


def test_the_history_lists_versions_with_size_and_latency(smoke_run: SmokeRun) -> None:
    history = (smoke_run.workdir / "reports" / "index.html").read_text()
    result = smoke_run.result
    assert f">{result.version}</th>" in history
    assert f"{result.accuracy:.4f}" in history
    assert f'href="{result.run_id}/index.html"' in history
    assert " ms</td>" in history


def test_a_page_links_to_earlier_runs(tmp_path: Path) -> None:
    earlier = refused("a")
    write_report(earlier, tmp_path, str(tmp_path / "serving"))
    earlier.write(tmp_path / "runs")
    page = write_report(refused("b"), tmp_path, str(tmp_path / "serving")).read_text()
    assert 'href="../a/index.html"' in page


def test_a_run_that_read_no_data_gets_a_page_without_tensorflow(tmp_path: Path) -> None:
    ask = (
        "import sys\nfrom pathlib import Path\n"
        "from datetime import UTC, datetime\n"
        "from runs.result import RunResult\nfrom reporting.write import write_report\n"
        "result = RunResult(run_id='r', started_at=datetime.now(UTC))\n"
        f"write_report(result, Path({str(tmp_path)!r}), {str(tmp_path / 'serving')!r})\n"
        "sys.exit(1 if {'tensorflow', 'tfx', 'ml_metadata'} & set(sys.modules) else 0)\n"
    )
    assert subprocess.run([sys.executable, "-c", ask], cwd=ROOT).returncode == 0
    assert "Failed" in (tmp_path / "reports" / "r" / "index.html").read_text()


def test_a_report_that_cannot_be_written_is_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "reports").write_text("in the way")
    result = refused("r", reasons=["bad labels"])
    before = result.model_copy()
    with caplog.at_level(logging.WARNING, logger="reporting"):
        attach_report(result, tmp_path, str(tmp_path / "serving"))
    assert result == before
    lines = [record for record in caplog.records if record.name == "reporting.write"]
    assert len(lines) == 1
    assert "no report was written" in lines[0].getMessage()


@pytest.mark.parametrize("mishap", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_no_mishap_gets_out_of_writing_a_report(
    mishap: type[BaseException], tmp_path: Path
) -> None:
    def fails() -> None:
        raise mishap

    result = refused("r")
    attach_report(result, tmp_path, str(tmp_path / "serving"), compiled=fails)
    assert result.report is None


def test_report_shows_the_page_of_the_newest_run(smoke_run: SmokeRun) -> None:
    shown = run_runner("report", "--workdir", str(smoke_run.workdir), "--no-open")
    assert shown.stdout.strip() == str(smoke_run.result.report)
    assert shown.returncode == 0


def test_report_without_any_run_is_bad_usage(tmp_path: Path) -> None:
    shown = run_runner("report", "--workdir", str(tmp_path))
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "there is no run in" in shown.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_page_is_rebuilt_from_the_metadata_alone(reported: Reported, tmp_path: Path) -> None:
    database = tmp_path / "metadata.sqlite"
    database.write_bytes(reported.config.metadata_path.read_bytes())
    config = reported.config.model_copy(update={"workdir": tmp_path})
    run_id = reported.run.result.run_id
    page = report.write_again(config, run_id, None)
    assert page == tmp_path / "reports" / run_id / "index.html"
    kept = RunResult.model_validate_json((tmp_path / "runs" / f"{run_id}.json").read_text())
    assert (kept.version, kept.report) == (reported.run.result.version, page)
    assert f"{reported.run.result.accuracy:.4f}" in page.read_text()


def test_an_unknown_run_is_bad_usage(reported: Reported) -> None:
    with pytest.raises(UsageError, match="has no run nonsense"):
        report.write_again(reported.config, "nonsense", None)


def test_a_rebuilt_page_says_the_same_as_the_runs_own(reported: Reported, tmp_path: Path) -> None:
    result = reported.run.result
    assert result.report is not None
    page = write_report(
        result, tmp_path, reported.config.serving_base, compile_pipeline(reported.config)
    )
    # Where it lies makes no difference: there is no run before it in either place.
    assert page.read_text() == result.report.read_text()
