"""A picture from the test images, to try a served model with."""

from pathlib import Path

from data.idx import read_images

_SAMPLE = Path(__file__).parent / "sample" / "base"


def write_example(path: Path) -> None:
    """Writes the sample's first test image as a PNG, unless the file is there."""
    if not path.exists():
        from PIL import Image

        image = read_images(_SAMPLE / "t10k-images-idx3-ubyte.gz")[0]
        Image.fromarray(image).save(path)
