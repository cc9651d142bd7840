"""A picture from the test images, to try a served model with."""

from pathlib import Path

from components.idx_example_gen.idx import read_images
from pipeline.config import SAMPLE_DATA, Config


def write_example(config: Config) -> Path:
    """Writes the first test image as a PNG into the workdir, once, and returns its path."""
    path = config.workdir / "example.png"
    if not path.exists():
        from PIL import Image

        image = read_images(SAMPLE_DATA / "official" / "t10k-images-idx3-ubyte.gz")[0]
        Image.fromarray(image).save(path)
    return path
