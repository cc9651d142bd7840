"""docs/howto/backbone.md, as written, with few pictures, a smaller backbone and one epoch."""

from pathlib import Path

import keras
import pytest

from tests.integration.docs_blocks import REPOSITORY, Block, repository_copy, run_page
from tests.integration.test_own_classes import write_photos

pytestmark = pytest.mark.integration

# What the page trains is not good: its weights are random, its pictures few.
_QUICK = " --set ".join(
    (
        "--model-server embedded",
        *("training.epochs=1", "training.test_time_flip=false", "evaluation.baseline=false"),
        *("evaluation.min_accuracy=0.0", "evaluation.min_span_accuracy=0.0"),
        "evaluation.min_class_recall=0.0",
    )
)


def test_a_backbone_from_a_file_and_a_network_of_ones_own_are_trained_and_pushed(
    tmp_path: Path,
) -> None:
    with repository_copy(tmp_path) as (tree, shell):

        def make_photos(_: Block) -> bool:
            write_photos(tree / "photos", per_class=20, seed=1)
            return True

        def get_weights(block: Block) -> bool:
            name = block.text.strip().rpartition("/")[2]
            backbone = keras.applications.MobileNet(
                include_top=False, weights=None, input_shape=(32, 32, 3)
            )
            backbone.save(tree / name)
            return False

        blocks = run_page(
            REPOSITORY / "docs" / "howto" / "backbone.md",
            tree,
            shell,
            {
                "--image-size 96": "--image-size 32",
                "--model-server embedded": _QUICK,
                "MobileNetV2": "MobileNet",
            },
            {"make_photos": make_photos, "get_weights": get_weights},
        )
    assert blocks == 3
