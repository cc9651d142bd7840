"""A picture from the test images, to try a served model with."""

from pathlib import Path

from data import picture_folder
from data.idx import read_images

_SAMPLE = Path(__file__).parent / "sample" / "base"


def write_example(base: Path, folder: Path) -> Path:
    """Returns a test picture of the base set; without one, the sample's first, as a PNG.

    Args:
        base: the folder of the base set.
        folder: where the PNG is written, unless it is there.
    """
    if names := picture_folder.pictures(base / "test"):
        return base / "test" / names[0]
    path = folder / "example.png"
    if not path.exists():
        from PIL import Image

        image = read_images(_SAMPLE / "t10k-images-idx3-ubyte.gz")[0]
        Image.fromarray(image).save(path)
    return path
