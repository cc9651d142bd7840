"""Classes that differ by nothing but colour are told apart where the network sees colours."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.conftest import run_runner

pytestmark = pytest.mark.integration

_COLOURS = {"blue": (50, 70, 220), "green": (40, 180, 60), "red": (220, 40, 40)}


def draw(folder: Path, per_class: int) -> None:
    """Discs of every size and shade at every place, drawn alike for all classes."""
    for name, colour in _COLOURS.items():
        random = np.random.default_rng(7)
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            edge = int(random.integers(40, 90))
            picture = Image.new("RGB", (edge, edge), (235, 235, 235))
            left, top = random.integers(2, edge // 2, 2).tolist()
            size = int(random.integers(edge // 5, edge // 2))
            shade = random.uniform(0.6, 1.1)
            fill = tuple(min(255, int(value * shade)) for value in colour)
            ImageDraw.Draw(picture).ellipse((left, top, left + size, top + size), fill=fill)
            picture.save(folder / name / f"{number}.{'jpg' if number % 2 else 'png'}")


def test_colours_alone_are_told_apart_at_48_pixels(tmp_path: Path) -> None:
    draw(tmp_path / "discs", 100)
    out = tmp_path / "out"
    prepared = run_runner(
        *("data", "prepare", str(tmp_path / "discs"), "--output", str(out)),
        *("--image-size", "48", "--color", "rgb"),
    )
    assert prepared.returncode == 0, prepared.stderr
    run = run_runner(
        *("--config", str(out / "settings.toml"), "--model-server", "embedded"),
        *("--set", "training.epochs=6", "--json"),
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(run.stdout)
    assert result["status"] == "pushed"
    assert result["accuracy"] >= 0.95
