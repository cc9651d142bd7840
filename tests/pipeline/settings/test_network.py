"""A network that cannot be built is refused by one sentence before the run begins."""

from pathlib import Path

import pytest

from pipeline.settings.errors import UsageError
from pipeline.settings.load import load_config
from pipeline.settings.network import custom_module, module_file

MOBILE = ("training.network=backbone", "training.backbone=MobileNetV2", "data.image_size=32")
OWN = "tests.tiny_networks:on_a_backbone"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file that begins as HDF5 files do."""
    file = tmp_path / "weights.h5"
    file.write_bytes(b"\x89HDF\r\n\x1a\n")
    return file


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["training.network=wide"], "there are cnn, residual, backbone, and functions of your own"),
        (["training.network=a.b:c"], "there is no module a.b, neither here nor on PYTHONPATH"),
        (["training.network=:c"], "functions of your own as package.module:function"),
        (["training.network=tests.tiny_networks:wide"], "tiny_networks.py has no wide"),
        (["training.network=backbone"], "training.backbone has to say which"),
        (["training.network=backbone", "training.backbone=VGG17"], "VGG16, VGG19, Xception"),
        ([*MOBILE, "data.image_size=28"], "MobileNetV2 takes images of 32 pixels and more"),
        ([*MOBILE, "training.backbone=Xception"], "Xception takes images of 71 pixels and more"),
        (MOBILE, "begins with random numbers, which are of no use frozen"),
        ([*MOBILE, "training.weights=/nowhere.h5"], "cannot read /nowhere.h5: No such file"),
        ([*MOBILE, "training.weights=/tmp"], "cannot read /tmp: Is a directory"),
        ([*MOBILE, "training.weights=README.md"], "README.md is no file of weights of Keras"),
        (["data.image_size=8", "training.filters=[4, 4, 4, 4, 4]"], "5 stages halve an image 4"),
    ],
)
def test_what_cannot_be_built_is_named(overrides: list[str], sentence: str) -> None:
    with pytest.raises(UsageError) as refused:
        load_config(overrides=overrides)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_weights_without_a_backbone_are_a_mistake(weights: Path) -> None:
    with pytest.raises(UsageError, match="network is residual"):
        load_config(overrides=["training.network=residual", f"training.weights={weights}"])


def test_what_can_be_built_is_taken(weights: Path) -> None:
    for overrides in (
        ["training.network=residual"],
        [*MOBILE, f"training.weights={weights}"],
        [*MOBILE, "training.frozen_epochs=0"],
        [f"training.network={OWN}", f"training.weights={weights}"],
    ):
        load_config(overrides=overrides)


def test_a_file_of_weights_is_the_same_wherever_a_node_runs(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(weights.parent)
    config = load_config(overrides=[*MOBILE, "training.weights=weights.h5"])
    assert config.training.weights == weights


def test_code_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "halfway.py").write_text("def build_model(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"halfway\.py is not Python: invalid syntax"):
        load_config(overrides=["training.network=halfway:build_model"])


def test_a_module_is_found_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "ours"
    package.mkdir()
    for name in ("__init__.py", "network.py"):
        (package / name).write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path)
    assert custom_module("ours.network:build_model") == "ours.network"
    assert module_file("ours.network") == package / "network.py"
    assert module_file("ours") == package / "__init__.py"
    assert module_file("ours.other") is None
    assert custom_module("cnn") is None
