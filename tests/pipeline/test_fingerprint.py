"""The fingerprint table: each input changes the nodes that depend on it, and no others."""

import os
import shutil
import time
from importlib import metadata
from pathlib import Path

import pytest

from data.spans import Choice
from files.memory import FileMemory
from pipeline import fingerprint
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT, SAMPLE_DATA


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sources that a test may change."""
    copy = tmp_path / "checkout"
    for package in ("pipeline", "components", "data", "serving", "files", "runs"):
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("*.gz"))
    monkeypatch.setattr(fingerprint, "ROOT", copy)
    return copy


def changed_nodes(before: dict[str, str], config: Config | None = None) -> set[str]:
    after = fingerprint.node_fingerprints(config or load_config("smoke"))
    return {node for node in after if after[node] != before[node]}


def append_to(path: Path) -> None:
    path.write_text(path.read_text() + "\n_CHANGED = 1\n")


@pytest.mark.parametrize(
    ("module", "nodes"),
    [
        ("pipeline/modeling/network.py", {"Trainer"}),
        ("pipeline/modeling/backbone.py", {"Trainer"}),
        ("pipeline/modeling/trainer.py", {"Trainer"}),
        ("pipeline/modeling/preprocessing.py", {"Transform", "Trainer"}),
        ("pipeline/modeling/image_header.py", {"Transform", "Trainer"}),
        ("pipeline/best_hyperparameters.py", {"Trainer"}),
        ("components/cache_key_driver.py", {"IdxExampleGen", "ServedModel", "Pusher"}),
        ("pipeline/evaluation.py", {"Evaluator"}),
        ("components/idx_example_gen/executor.py", {"IdxExampleGen"}),
        ("components/anomaly_gate/component.py", {"AnomalyGate"}),
        ("components/pusher/executor.py", {"Pusher"}),
        ("serving/model_server/servable.py", {"InfraValidator"}),
        ("runs/result.py", set()),
        ("pipeline/settings/config.py", set()),
    ],
)
def test_changed_code_changes_the_nodes_that_use_it(
    checkout: Path, module: str, nodes: set[str]
) -> None:
    before = fingerprint.node_fingerprints(load_config("smoke"))
    append_to(checkout / module)
    assert changed_nodes(before) == nodes


@pytest.mark.parametrize(
    ("override", "nodes"),
    [
        ("training.learning_rate=0.001", {"Trainer"}),
        ("serving.default_signature=pixels", {"Trainer", "InfraValidator"}),
        ("serving.max_pixels=1000000", {"Transform"}),
        ('data.labels=["cat", "dog"]', {"Trainer", "ModelDiff"}),
        # An empty file is a schema that requires nothing.
        (
            "data.schema_file=components/__init__.py",
            {"ImportSchemaGen", "SpanDistributionValidator"},
        ),
        ("evaluation.min_accuracy=0.5", {"Evaluator"}),
        ("infra_validation.max_latency_ms=50", {"InfraValidator"}),
        ("push.keep=3", {"Pusher"}),
    ],
)
def test_a_changed_setting_changes_the_nodes_that_use_it(override: str, nodes: set[str]) -> None:
    before = fingerprint.node_fingerprints(load_config("smoke"))
    assert changed_nodes(before, load_config("smoke", overrides=[override])) == nodes


@pytest.mark.parametrize(
    ("override", "nodes"),
    [
        ("tuning.epochs=2", {"Tuner"}),
        ("training.dropout=0.5", {"Tuner", "Trainer"}),
        # A longer search goes on where a shorter one ended.
        ("tuning.minutes=99", set()),
        ("tuning.trials=99", set()),
    ],
)
def test_where_hyperparameters_are_searched_tuner_counts_as_well(
    override: str, nodes: set[str]
) -> None:
    assert "Tuner" not in fingerprint.node_fingerprints(load_config("smoke"))
    before = fingerprint.node_fingerprints(load_config("smoke", overrides=["tuning.enabled=true"]))
    after = load_config("smoke", overrides=["tuning.enabled=true", override])
    assert changed_nodes(before, after) == nodes


HDF5 = b"\x89HDF\r\n\x1a\n"


def test_changed_weights_of_a_backbone_train_again(tmp_path: Path) -> None:
    file = tmp_path / "no_top.h5"
    file.write_bytes(HDF5 + b"old")
    config = load_config(
        "smoke",
        overrides=[
            *("training.network=backbone", "training.backbone=MobileNetV2"),
            *("data.image_size=32", f"training.weights={file}", "tuning.enabled=true"),
        ],
    )
    before = fingerprint.node_fingerprints(config)
    assert changed_nodes(before, config) == set()
    file.write_bytes(HDF5 + b"new")
    assert changed_nodes(before, config) == {"Tuner", "Trainer"}


@pytest.mark.parametrize("changed", ["network.py", "blocks.py", "deep/layers.py"])
def test_changed_code_of_ones_own_network_trains_again_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    package = tmp_path / "elsewhere" / "ours"
    (package / "deep").mkdir(parents=True)
    for name in ("__init__.py", "deep/__init__.py", "deep/layers.py", "unused.py"):
        (package / name).touch()
    (package / "network.py").write_text("from .blocks import block\ndef build_model(): block()\n")
    (package / "blocks.py").write_text("import ours.deep.layers\ndef block(): pass\n")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    config = load_config("smoke", overrides=["training.network=ours.network:build_model"])
    before = fingerprint.node_fingerprints(config)
    append_to(package / "unused.py")
    assert changed_nodes(before, config) == set()
    append_to(package / changed)
    assert changed_nodes(before, config) == {"Trainer"}


def test_a_changed_search_space_changes_tuner_alone(checkout: Path) -> None:
    config = load_config("smoke", overrides=["tuning.enabled=true"])
    before = fingerprint.node_fingerprints(config)
    append_to(checkout / "pipeline" / "settings" / "search_space.py")
    assert changed_nodes(before, config) == {"Tuner"}


@pytest.mark.parametrize("package", ["keras", "scipy"])
def test_a_changed_package_changes_the_nodes_that_use_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint.node_fingerprints(load_config("smoke"))
    version = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "99" if name == package else version(name)
    )
    assert changed_nodes(before) == {"Trainer"}


def test_a_changed_image_changes_the_run(tmp_path: Path) -> None:
    data = tmp_path / "var" / "data"
    shutil.copytree(SAMPLE_DATA, data)
    config = load_config("smoke", overrides=["data.sample=false"], workdir=tmp_path / "var")
    before = fingerprint.run_fingerprint(config, Choice())
    assert fingerprint.run_fingerprint(config, Choice()) == before

    images = data / "base" / "train-images-idx3-ubyte.gz"
    content = bytearray(images.read_bytes())
    content[-9] ^= 1
    images.write_bytes(content)
    assert fingerprint.run_fingerprint(config, Choice()) != before


def test_what_is_remembered_never_hides_an_edit(tmp_path: Path, checkout: Path) -> None:
    data = tmp_path / "var" / "data"
    shutil.copytree(SAMPLE_DATA, data)
    config = load_config("smoke", overrides=["data.sample=false"], workdir=tmp_path / "var")
    time.sleep(0.05)

    def remembering() -> str:
        memory = FileMemory(config.file_memory, settled_seconds=0)
        found = fingerprint.run_fingerprint(config, Choice(), memory=memory)
        memory.save()
        return found

    before = remembering()
    assert str(checkout / "pipeline" / "definition.py") in config.file_memory.read_text()
    assert remembering() == before
    assert fingerprint.run_fingerprint(config, Choice(), memory=FileMemory()) == before
    seen = {before}
    for file in (
        data / "base" / "train-images-idx3-ubyte.gz",
        checkout / "pipeline" / "modeling" / "network.py",
    ):
        time.sleep(0.05)
        status = file.stat()
        content = bytearray(file.read_bytes())
        content[-9] ^= 1
        file.write_bytes(content)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        seen.add(remembering())
    assert len(seen) == 3
