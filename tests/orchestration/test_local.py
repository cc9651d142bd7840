"""What a local run leaves behind however it ends."""

import io
from pathlib import Path

from orchestration.local import new_result, run_pipeline
from orchestration.progress import Progress
from pipeline.settings.load import load_config


def test_runs_that_fail_before_their_first_node_do_not_pile_up(tmp_path: Path) -> None:
    nothing = tmp_path / "data"
    overrides = ["retention.runs=2", f"data.root='{nothing}'"]
    config = load_config(overrides=overrides, workdir=tmp_path / "var")
    results = [new_result(config) for _ in range(4)]
    for result in results:
        # Otherwise an identical run only repeats the refusal, and keeps nothing of its own.
        nothing.write_text("a file") if not nothing.exists() else None
        run_pipeline(config, result, Progress(io.StringIO()))
        assert result.report
        assert result.report.is_file()
    newest = [result.run_id for result in results[2:]]
    assert sorted(path.stem for path in config.runs_dir.iterdir()) == newest
    pages = [path.name for path in (config.workdir / "reports").iterdir() if path.is_dir()]
    assert sorted(pages) == newest
