"""`runner.py schedule` hands its settings on to the runs, and says what is wrong with them."""

import subprocess
import sys
from pathlib import Path

from cli.schedule import command_for
from files import lock
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "runner.py", "schedule", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_run_gets_the_settings_of_the_schedule(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.touch()
    settings = load_config("smoke", workdir=tmp_path)
    overrides = ["data.window=3", "push.keep=4"]
    command = command_for(["run", "--json"], settings, file, overrides, "smoke", "embedded")
    assert command[:4] == [sys.executable, str(ROOT / "runner.py"), "run", "--json"]
    assert command[4:] == [
        *("--workdir", str(tmp_path)),
        *("--config", str(file)),
        *("--preset", "smoke"),
        *("--model-server", "embedded"),
        *("--set", "data.window=3"),
        *("--set", "push.keep=4"),
    ]


def test_a_wrong_expression_is_bad_usage(tmp_path: Path) -> None:
    done = call("--cron", "0 3 * *", "--workdir", str(tmp_path))
    assert done.returncode == 2
    assert (
        done.stderr
        == "runner.py: the cron expression '0 3 * *' is not valid: it has 4 fields, not five\n"
    )


def test_a_second_schedule_on_a_workdir_is_refused_with_exit_code_7(tmp_path: Path) -> None:
    with lock.exclusive(tmp_path, "schedule"):
        done = call("--workdir", str(tmp_path))
    assert done.returncode == 7
    assert "another schedule" in done.stderr


def test_two_configurations_that_share_a_workdir_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / "a.toml", tmp_path / "b.toml"]
    for file in files:
        file.write_text(f'workdir = "{tmp_path}/var"\n[serving]\nmodel_name = "{file.stem}"\n')
    done = call("--config", str(files[0]), "--config", str(files[1]))
    assert done.returncode == 2
    assert done.stderr == (
        f"runner.py: {files[0]} and {files[1]} share the workdir {tmp_path}/var; "
        "give each one of its own\n"
    )


def test_one_folder_is_not_watched_for_several_models(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.toml").write_text(f'workdir = "{tmp_path}/{name}"\n')
    files = ("--config", f"{tmp_path}/a.toml", "--config", f"{tmp_path}/b.toml")
    done = call(*files, "--watch", str(tmp_path))
    assert done.returncode == 2
    assert "--watch names one folder" in done.stderr


def test_a_file_that_is_named_twice_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(f'workdir = "{tmp_path}/var"\n')
    done = call("--config", str(file), "--config", str(file))
    assert done.returncode == 2
    assert "--config names one file twice" in done.stderr
