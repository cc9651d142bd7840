"""A compiled pipeline whose code, packages, schema or settings changed stops before it works."""

import json
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from orchestration.airflow.compiler import compile_airflow
from orchestration.freshness import check_fresh
from pipeline import fingerprint
from pipeline.settings.errors import UsageError
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT

SETTINGS = """
[training]
epochs = 3 # as few as possible
[schedule]
webhook = "https://chat.example.com/secret-token"
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a DAG, the file of its settings, and its schema."""
    folder = tmp_path_factory.mktemp("compiled")
    shutil.copy(ROOT / "pipeline" / "schema" / "schema.pbtxt", folder)
    file = folder / "production.toml"
    file.write_text(f"data.schema_file = '{folder}/schema.pbtxt'\n{SETTINGS}")
    config = load_config("smoke", file, workdir=folder / "var")
    compile_airflow(config, folder, settings_file=file)
    return folder


@pytest.fixture
def folder(compiled: Path, tmp_path: Path) -> Path:
    """A copy of what was compiled, which a test may change."""
    copy = tmp_path / "copy"
    shutil.copytree(compiled, copy)
    for path in copy.glob("*.ir.json"):
        path.write_text(path.read_text().replace(str(compiled), str(copy)))
    return copy


def stopped(folder: Path) -> str:
    with pytest.raises(UsageError) as refusal:
        check_fresh(folder / "fashion_mnist.ir.json")
    sentence = str(refusal.value)
    assert f"`runner.py compile airflow --output {folder}`" in sentence
    return sentence.partition("changed: ")[2].partition(");")[0]


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_what_is_as_it_was_goes_on(folder: Path) -> None:
    check_fresh(folder / "fashion_mnist.ir.json")


def test_a_setting_that_was_edited_is_named(folder: Path) -> None:
    edit(folder / "production.toml", "epochs = 3", "epochs = 4")
    assert stopped(folder) == f"training.epochs in {folder}/production.toml"


def test_settings_that_were_added_and_removed_are_named(folder: Path) -> None:
    edit(folder / "production.toml", "epochs = 3", "batch_size = 64")
    changed = [f"training.{name} in {folder}/production.toml" for name in ("batch_size", "epochs")]
    assert stopped(folder) == "; ".join(changed)


def test_an_edited_comment_changes_nothing(folder: Path) -> None:
    edit(folder / "production.toml", "as few as possible", "")
    check_fresh(folder / "fashion_mnist.ir.json")


def test_a_file_of_settings_that_is_gone_is_a_sentence(folder: Path) -> None:
    (folder / "production.toml").unlink()
    with pytest.raises(UsageError, match="cannot read the configuration"):
        check_fresh(folder / "fashion_mnist.ir.json")


@pytest.mark.parametrize("becomes", ["edited", "gone"])
def test_a_changed_schema_is_named(folder: Path, becomes: str) -> None:
    schema = folder / "schema.pbtxt"
    schema.write_text(schema.read_text() + "# new\n") if becomes == "edited" else schema.unlink()
    assert stopped(folder) == f"the schema {schema}"


@pytest.mark.parametrize(
    ("module", "named"),
    [
        ("pipeline/modeling/network.py", "pipeline/modeling"),
        ("pipeline/definition.py", "pipeline/definition"),
        ("pipeline/settings/presets.py", "pipeline/settings"),
        ("components/pusher/executor.py", "components/pusher"),
        ("orchestration/airflow/dag_file.py", "orchestration/airflow"),
    ],
)
def test_changed_code_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, named: str
) -> None:
    checkout = tmp_path / "checkout"
    for package in ("pipeline", "components", "data", "serving", "files", "orchestration"):
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("*.gz"))
    monkeypatch.setattr(fingerprint, "ROOT", checkout)
    (checkout / module).write_text((checkout / module).read_text() + "\n_CHANGED = 1\n")
    assert stopped(folder) == f"the code in {named}"


def test_another_version_of_a_package_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "9" if name == "keras" else real(name))
    assert stopped(folder) == f"package keras ({real('keras')}, now 9)"


@pytest.mark.parametrize("origin", [None, {"orchestrator": "airflow"}])
def test_what_another_release_compiled_is_out_of_date(folder: Path, origin: object) -> None:
    path = folder / "fashion_mnist.ir.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"compiledFrom": origin}))
    assert stopped(folder) == "the release of this program"


def test_no_value_of_a_setting_is_written_down(folder: Path) -> None:
    assert "secret-token" not in (folder / "fashion_mnist.ir.json").read_text()


def test_the_task_stops_with_the_sentence_and_exit_code_2_before_tensorflow_is_imported(
    folder: Path,
) -> None:
    edit(folder / "production.toml", "epochs = 3", "epochs = 4")
    command = [sys.executable, "-X", "importtime", "-m", "orchestration.node"]
    command += [str(folder / "fashion_mnist.ir.json"), "monday", "Trainer"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 2
    assert len(said) == 1
    assert "training.epochs" in said[0]
    assert "| tensorflow" not in done.stderr
    assert not (folder / "var" / "logs").exists()
