"""New images come in whole, in three forms, or not at all."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import idx
from data.ingest import UnknownForm, read_arrays, read_pictures
from data.refusal import DataRefused

CLASS_LABELS = ("T-shirt/top", "Trouser", "Ankle boot")
SIZE = 28
IMAGES = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE), np.uint8)
LABELS = np.array([0, 1, 2], np.uint8)


def _read(path: Path):
    return read_arrays(path, CLASS_LABELS, SIZE) or _pictures(path)


def _pictures(path: Path, labels=CLASS_LABELS, **options):
    return read_pictures(path, labels, lambda content: None, 25_000_000, **options)


def _refusals(path: Path) -> list[str]:
    with pytest.raises(DataRefused) as refused:
        _read(path)
    return refused.value.reasons


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """One PNG in each of three class folders, named in three ways."""
    for name, image in zip(("T-shirt_top", "1", "ankle boot"), IMAGES, strict=True):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "photos" / name / "one.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_pair_of_idx_files_is_read(tmp_path: Path, suffix: str) -> None:
    idx.write(tmp_path / f"new-images-idx3-ubyte{suffix}", IMAGES)
    idx.write(tmp_path / f"new-labels-idx1-ubyte{suffix}", LABELS)
    for path in (tmp_path, tmp_path / f"new-images-idx3-ubyte{suffix}"):
        found = _read(path)
        np.testing.assert_array_equal(found.images, IMAGES)
        np.testing.assert_array_equal(found.labels, LABELS)


def test_half_a_pair_is_refused(tmp_path: Path) -> None:
    idx.write(tmp_path / "images-idx3-ubyte", IMAGES)
    [reason] = _refusals(tmp_path)
    assert "expected one image and one label file, found images-idx3-ubyte" in reason
    [reason] = _refusals(tmp_path / "images-idx3-ubyte")
    assert "labels-idx1-ubyte: cannot be read" in reason


def test_what_lies_beside_a_pair_is_not_dropped_without_a_word(
    tmp_path: Path, folders: Path
) -> None:
    idx.write(folders / "images-idx3-ubyte", IMAGES)
    idx.write(folders / "labels-idx1-ubyte", LABELS)
    np.savez(folders / "more.npz", images=IMAGES, labels=LABELS)
    for name in ("._images-idx3-ubyte", "README.md", ".DS_Store", "LICENSE", "files.sha256"):
        (folders / name).write_bytes(b"about the data, or left by a system")
    assert _refusals(folders) == [
        f"{folders / name}: it lies beside IDX files"
        for name in ("1", "ankle boot", "more.npz", "T-shirt_top")
    ]
    for name in ("1", "ankle boot", "more.npz", "T-shirt_top"):
        (folders / name).rename(tmp_path / name)
    assert len(_read(folders).labels) == 3


def test_folders_named_by_class_or_number_are_read(folders: Path) -> None:
    found = _pictures(folders).checked
    assert {(picture.file.path.parent.name, picture.file.label) for picture in found} == {
        ("T-shirt_top", 0),
        ("1", 1),
        ("ankle boot", 2),
    }
    assert not any(picture.changes for picture in found)


def test_a_number_is_no_class_where_classes_are_called_by_numbers(tmp_path: Path) -> None:
    for name in ("0", "1"):
        (tmp_path / name).mkdir()
        Image.fromarray(IMAGES[int(name)]).save(tmp_path / name / "a.png")
    with pytest.raises(DataRefused, match="0: no class has this name"):
        _pictures(tmp_path, labels=("1", "2", "3", "4", "5"))


def test_pictures_of_any_size_and_kind_are_taken_as_they_are_shown(tmp_path: Path) -> None:
    (tmp_path / "Trouser").mkdir()
    image = Image.fromarray(IMAGES[0]).resize((300, 200))
    image.convert("RGBA").save(tmp_path / "Trouser" / "a.png")
    image.convert("CMYK").save(tmp_path / "Trouser" / "b.JPG", "JPEG")
    image.save(tmp_path / "Trouser" / "c.webp", lossless=True)
    orientation = Image.Exif()
    orientation[0x0112] = 6
    image.save(tmp_path / "Trouser" / "d.jpeg", exif=orientation)
    found = _pictures(tmp_path, allow_duplicates=True)
    assert [picture.changes for picture in found.checked] == [
        (), ("CMYK made RGB",), ("WEBP made PNG",), ("turned",),
    ]  # fmt: skip
    assert found.summary.copies == 1


def test_every_bad_file_is_listed_and_none_dropped(folders: Path) -> None:
    (folders / "1" / "text.png").write_text("no image")
    (folders / "1" / "notes.txt").write_text("no image")
    whole = (folders / "1" / "one.png").read_bytes()
    (folders / "1" / "cut.png").write_bytes(whole[: len(whole) // 2])
    frames = [Image.new("L", (9, 9), shade) for shade in (0, 255)]
    frames[0].save(folders / "1" / "moving.gif", save_all=True, append_images=frames[1:])
    (folders / "Hat").mkdir()
    (folders / "loose.png").write_bytes(whole)
    (folders / "ankle boot" / "again.png").write_bytes(whole)
    (folders / ".DS_Store").write_bytes(b"left by an operating system")

    reasons = {Path(reason.split(": ")[0]).name: reason for reason in _refusals(folders)}
    assert sorted(reasons) == [
        "Hat", "again.png", "cut.png", "loose.png", "moving.gif", "notes.txt", "text.png",
    ]  # fmt: skip
    assert "no class has this name" in reasons["Hat"]
    assert "holds 2 pictures, frames or pages" in reasons["moving.gif"]
    assert "damaged" in reasons["cut.png"]
    assert "the same picture as" in reasons["again.png"]


@pytest.mark.parametrize("names", [("images", "labels"), ("x_train", "y_train")])
def test_an_npz_is_read(tmp_path: Path, names: tuple[str, str]) -> None:
    arrays = (IMAGES[..., np.newaxis].astype(np.int64), LABELS[:, np.newaxis].astype(np.int32))
    np.savez(tmp_path / "new.npz", **dict(zip(names, arrays, strict=True)))
    found = _read(tmp_path / "new.npz")
    np.testing.assert_array_equal(found.images, IMAGES)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert found.images.dtype == found.labels.dtype == np.uint8


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"pictures": IMAGES}, "expected arrays images and labels, found pictures"),
        ({"images": IMAGES / 255.0, "labels": LABELS}, "images are float64"),
        ({"images": IMAGES.astype("m8[s]"), "labels": LABELS}, "images are timedelta64[s]"),
        ({"images": IMAGES, "labels": LABELS.astype(int) + 254}, "labels range from 254 to 256"),
        ({"images": IMAGES[0], "labels": LABELS}, "expected 3 dimensions"),
        ({"images": IMAGES[:, :20], "labels": LABELS}, "images are 20x28, expected 28x28"),
        ({"images": IMAGES, "labels": LABELS[:2]}, "3 images and 2 labels"),
        ({"images": IMAGES, "labels": LABELS + 1}, "label 3 of image 2 is not in 0 to 2"),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS},
            "holds x_test, y_test beside x_train and y_train",
        ),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "holds no images"),
    ],
)
def test_unsound_arrays_are_refused(tmp_path: Path, arrays: dict, expected: str) -> None:
    np.savez(tmp_path / "new.npz", **arrays)
    assert any(expected in reason for reason in _refusals(tmp_path / "new.npz"))


def test_a_file_that_only_claims_to_be_an_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "new.npz").write_bytes(b"PK\x03\x04 broken")
    assert "not a readable .npz file" in _refusals(tmp_path / "new.npz")[0]
    np.savez(tmp_path / "objects.npz", images=np.array([None]), labels=LABELS)
    assert "not a readable .npz file" in _refusals(tmp_path / "objects.npz")[0]


def test_an_npz_of_another_making_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (2**70, 28, 28)}
    )
    whole = io.BytesIO()
    np.save(whole, LABELS)
    for images, reason in ((b"", "images is no array"), (header.getvalue(), "too large")):
        with zipfile.ZipFile(tmp_path / "new.npz", "w") as file:
            file.writestr("images.npy", images)
            file.writestr("labels.npy", whole.getvalue())
        [found] = _refusals(tmp_path / "new.npz")
        assert "not a readable .npz file" in found
        assert reason in found

    np.save(tmp_path / "one.npy", IMAGES)
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    assert "it is one array without a name" in _refusals(tmp_path / "one.npz")[0]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_array_that_is_in_an_npz_twice_is_not_dropped_without_a_word(tmp_path: Path) -> None:
    np.savez(tmp_path / "new.npz", images=IMAGES, labels=LABELS)
    with zipfile.ZipFile(tmp_path / "new.npz", "a") as file:
        file.writestr("images.npy", file.read("images.npy"))
    assert "holds images beside images and labels" in _refusals(tmp_path / "new.npz")[0]


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_member_is_refused_however_it_is_compressed(
    tmp_path: Path, compression: int
) -> None:
    path = tmp_path / "new.npz"
    array = io.BytesIO()
    np.save(array, IMAGES)
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("images.npy", array.getvalue())
        file.writestr("labels.npy", array.getvalue())
    content = path.read_bytes()
    path.write_bytes(content[:200] + bytes(200) + content[400:])
    assert "not a readable .npz file" in _refusals(path)[0]


def test_a_damaged_member_of_a_compressed_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "new.npz"
    np.savez_compressed(path, images=IMAGES, labels=LABELS)
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 2] = b"?" * (len(content) // 2 - len(content) // 3)
    path.write_bytes(content)
    assert "not a readable .npz file" in _refusals(path)[0]


def test_what_has_none_of_the_forms_is_told_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "text.csv").write_text("1,2")
    for path in (tmp_path / "absent", tmp_path / "text.csv"):
        with pytest.raises(UnknownForm, match="neither a pair of IDX files"):
            _read(path)
