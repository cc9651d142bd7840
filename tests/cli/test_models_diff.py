"""`runner.py models diff` on two SavedModels and the examples that a run left."""

import json
from pathlib import Path

import pytest
import tensorflow as tf
from typer.testing import CliRunner

from cli.models import app
from serving.versions.publish import publish
from serving.versions.record import Pushed
from serving.versions.store import VersionStore
from tests.tiny_models import GreyClassifier, grey_examples, save


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workdir")
    store = VersionStore(folder / "serving" / "fashion_mnist")
    swapped = GreyClassifier(spoil=lambda p: tf.gather(p, [0, 1, 2, 4, 3], axis=1))
    for name, module in {"old": GreyClassifier(), "new": swapped}.items():
        publish(store, save(module, folder / name), Pushed())
    for run, count in {"3": 5, "12": 10}.items():
        split = folder / "pipeline_root" / "IdxExampleGen" / "examples" / run / "Split-eval"
        split.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(split / "data.gz"), "GZIP") as writer:
            for example in grey_examples(count):
                writer.write(example)
    return folder


def diff(workdir: Path, *options: str) -> str:
    numbers = [str(v.number) for v in VersionStore(workdir / "serving/fashion_mnist").served()]
    arguments = ["diff", *reversed(numbers), "--workdir", str(workdir), *options]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_diff_compares_on_the_examples_of_the_newest_run(workdir: Path) -> None:
    churn = json.loads(diff(workdir, "--json"))

    assert (churn["examples"], churn["changed"], churn["broken"]) == (10, 4, 4)
    assert churn["classes"]["Dress"]["changed"] == 2


def test_diff_tells_a_person_the_share_the_classes_and_the_worst_images(workdir: Path) -> None:
    text = diff(workdir)

    assert "the label of 4 of 10 images changes (40.00%): 0 become right, 4 wrong" in text
    assert "image 9, Coat: Coat (0.96) becomes Dress (0.96)" in text
