"""What a tuning found makes a later run the same one."""

from pathlib import Path

import pytest

from pipeline.fingerprint import node_fingerprints
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from pipeline.tuning.as_settings import toml_snippet, without_search, write_snippet

FOUND = {"learning_rate": 0.00314, "weight_decay": 1e-05, "batch_size": 64, "filters": [8, 16]}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(
        "smoke",
        overrides=["training.epochs=3", "training.random_flip=false", "tuning.enabled=true"],
        workdir=tmp_path,
    )


def test_the_file_gives_a_run_the_hyperparameters_of_the_tuned_one(config: Config) -> None:
    file = write_snippet(config, FOUND)
    assert file == config.workdir / "tuned.toml"
    again = load_config(None, file, workdir=config.workdir)
    assert again == without_search(config, FOUND)
    assert again.training.filters == (8, 16)
    assert again.training.epochs == 3
    assert not again.training.random_flip


def test_the_file_has_what_was_found_and_what_departs_from_the_preset(config: Config) -> None:
    assert toml_snippet(config, FOUND).splitlines() == [
        'preset = "smoke"',
        "",
        "[training]",
        "epochs = 3",
        "batch_size = 64",
        "learning_rate = 0.00314",
        "weight_decay = 1e-05",
        "filters = [8, 16]",
        "random_flip = false",
    ]


def test_the_nodes_of_a_later_run_have_the_fingerprints_of_one_that_searches_nothing(
    config: Config,
) -> None:
    plain = node_fingerprints(without_search(config, FOUND))
    file = write_snippet(config, FOUND)
    assert node_fingerprints(load_config(None, file, workdir=config.workdir)) == plain
