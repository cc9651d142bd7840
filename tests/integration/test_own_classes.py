"""docs/own_classes.md, as written, on pictures of other classes, sizes and colours."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.integration.conftest import free_port
from tests.integration.docs_blocks import REPOSITORY, repository_copy, run_page

pytestmark = pytest.mark.integration

_CLASSES = ("circle", "square", "triangle")


def draw(kind: str, random: np.random.Generator) -> Image.Image:
    """A light shape of some colour on a dark ground, the picture 40 to 90 pixels wide and high."""
    width, height = (int(side) for side in random.integers(40, 90, 2))
    picture = Image.new("RGB", (width, height), tuple(map(int, random.integers(0, 60, 3))))
    size = int(min(width, height) * random.uniform(0.5, 0.9))
    left = int(random.integers(0, width - size + 1))
    top = int(random.integers(0, height - size + 1))
    right, bottom = left + size - 1, top + size - 1
    colour = tuple(map(int, random.integers(150, 256, 3)))
    canvas = ImageDraw.Draw(picture)
    if kind == "circle":
        canvas.ellipse((left, top, right, bottom), fill=colour)
    elif kind == "square":
        canvas.rectangle((left, top, right, bottom), fill=colour)
    else:
        canvas.polygon([(left + size // 2, top), (left, bottom), (right, bottom)], fill=colour)
    return picture


def write_photos(folder: Path, per_class: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    for kind in _CLASSES:
        (folder / kind).mkdir(parents=True)
        for number in range(per_class):
            suffix = "png" if number % 2 else "jpg"
            draw(kind, random).save(folder / kind / f"{number:04}.{suffix}")


def test_a_folder_of_pictures_becomes_a_served_model_with_nothing_edited(
    tmp_path: Path,
) -> None:
    rest, grpc = free_port(), free_port()
    replacements = {
        "8501": str(rest),
        "runner.py serve": f"runner.py serve --rest-port {rest} --grpc-port {grpc}",
        "runner.py predict": f"runner.py predict --server localhost:{rest}",
    }
    with repository_copy(tmp_path) as (tree, shell):

        def photos(name: str, per_class: int, seed: int) -> bool:
            write_photos(tree / name, per_class, seed)
            return True

        markers = {
            "make_photos": lambda block: photos("photos", 60, 1),
            "make_more_photos": lambda block: photos("more_photos", 10, 2),
        }
        assert (
            run_page(REPOSITORY / "docs" / "own_classes.md", tree, shell, replacements, markers)
            == 7
        )
