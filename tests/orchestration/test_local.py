"""What a local run leaves behind however it ends."""

import io
from pathlib import Path

from orchestration.local import new_result, run_pipeline
from orchestration.progress import Progress
from pipeline.settings.load import load_config
from runs.exit_status import Status


def test_runs_that_fail_before_their_first_node_do_not_pile_up(tmp_path: Path) -> None:
    a_file = tmp_path / "data"
    a_file.write_text("no folder")
    overrides = ["retention.runs=2", f"data.root='{a_file}'"]
    config = load_config(overrides=overrides, workdir=tmp_path / "var")
    results = []
    for _ in range(4):
        result = new_result(config)
        run_pipeline(config, result, Progress(io.StringIO()))
        assert result.status is Status.FAILED
        assert result.report
        assert result.report.is_file()
        results.append(result)
    newest = [result.run_id for result in results[2:]]
    assert sorted(path.stem for path in config.runs_dir.iterdir()) == newest
    pages = [path.name for path in (config.workdir / "reports").iterdir() if path.is_dir()]
    assert sorted(pages) == newest
