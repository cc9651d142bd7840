"""A folder of pictures becomes a data root with settings, or is refused as a whole."""

import io
import tomllib
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorflow_metadata.proto.v0 import schema_pb2

from data import picture_folder
from data.class_names import label_of
from data.picture import pixel_digest
from data.prepare import Prepared, PrepareError, prepare
from data.prepared_settings import Target
from data.refusal import DataRefused
from pipeline.settings.load import load_config
from pipeline.settings.paths import SCHEMA_FILE

SCHEMA = SCHEMA_FILE.read_text()


def graph(encoded: bytes) -> None:
    """Stands for the model's graph, which reads PNG and JPEG alone."""
    with Image.open(io.BytesIO(encoded), formats=["PNG", "JPEG"]) as image:
        image.load()


def draw(folder: Path, shades: range, size: tuple[int, int] = (9, 7), mode: str = "RGB") -> None:
    folder.mkdir(parents=True)
    for shade in shades:
        Image.new(mode, size, (shade,) * len(mode)).save(folder / f"{shade}.png")


def pattern(seed: int, edge: int = 64) -> Image.Image:
    """A picture with shapes to be told by: coarse noise."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((edge, edge), Image.Resampling.BICUBIC)


def run(pictures: Path, output: Path, **options: object) -> Prepared:
    return prepare(pictures, Target(output, "fruit", SCHEMA, **options), graph)


def laid_out(output: Path, part: str) -> dict[str, list[bytes]]:
    """The files of each class of a part of the base set."""
    folders = sorted((output / "base" / part).iterdir())
    return {
        folder.name: [path.read_bytes() for path in sorted(folder.iterdir())]
        for folder in folders
        if folder.is_dir()
    }


def refused(pictures: Path, output: Path, **options: object) -> dict[str, str]:
    with pytest.raises(DataRefused) as refusal:
        run(pictures, output, **options)
    assert not output.exists()
    return {Path(found.file).name: found.reason for found in refusal.value.files}


def test_folders_per_class_become_a_data_root_with_a_fifth_held_out(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "Äpfel", range(20))
    draw(tmp_path / "in" / "pears 2", range(100, 130), size=(40, 40))

    done = run(tmp_path / "in", tmp_path / "out")

    assert done.labels == ("pears 2", "Äpfel")
    assert (done.train, done.test) == (40, 10)
    train, test = (laid_out(tmp_path / "out", part) for part in ("train", "test"))
    assert {name: len(files) for name, files in train.items()} == {"pears 2": 24, "Äpfel": 16}
    assert {name: len(files) for name, files in test.items()} == {"pears 2": 6, "Äpfel": 4}
    assert not set(train["Äpfel"]) & set(test["Äpfel"])
    assert picture_folder.is_complete(tmp_path / "out" / "base" / "train")


def test_pictures_stay_as_they_are_byte_for_byte(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number in range(20):
            file = tmp_path / "in" / name / f"{number}.jpg"
            pattern(100 * (name == "b") + number).save(file, progressive=number % 2 == 1)

    run(tmp_path / "in", tmp_path / "out", image_size=48, color="rgb")

    for name in ("a", "b"):
        given = {path.read_bytes() for path in (tmp_path / "in" / name).iterdir()}
        parts = (laid_out(tmp_path / "out", part)[name] for part in ("train", "test"))
        assert {content for part in parts for content in part} == given


def test_the_settings_are_valid_and_name_classes_size_and_colour(tmp_path: Path) -> None:
    draw(tmp_path / "in" / 'the "good" ones', range(20))
    draw(tmp_path / "in" / "others", range(50, 70))

    done = run(tmp_path / "in", tmp_path / "out", image_size=64, color="rgb", fit="crop")

    config = load_config(file=done.settings)
    assert config.data.labels == ("others", 'the "good" ones')
    assert config.image_format.shape == (64, 64, 3)
    assert config.image_format.fit == "crop"
    assert len(config.training.filters) == 4
    assert config.data_root == tmp_path / "out"
    assert config.serving_dir == tmp_path / "out" / "var" / "serving" / "fruit"
    schema = text_format.Parse(config.schema_file.read_text(), schema_pb2.Schema())
    [label] = [feature for feature in schema.feature if feature.name == "label"]
    assert (label.int_domain.min, label.int_domain.max) == (0, 1)
    assert label.drift_comparator.infinity_norm.threshold
    assert tomllib.loads(done.settings.read_text())["training"]["batch_size"] == 8


@pytest.mark.parametrize(
    "sign", ["\x7f", "\u2028", "\x0b", "\x85", "\t", "\n", "\\", "'", "\U0001f41d"]
)
def test_the_settings_can_be_used_whatever_sign_a_class_has_in_its_name(
    tmp_path: Path, sign: str
) -> None:
    draw(tmp_path / "in" / f"a{sign}b", range(20))
    draw(tmp_path / "in" / "others", range(50, 70))
    done = run(tmp_path / "in", tmp_path / "out")
    assert load_config(file=done.settings).data.labels == (f"a{sign}b", "others")
    for part in ("train", "test"):
        folder = tmp_path / "out" / "base" / part
        assert picture_folder.is_complete(folder)
        names = {path.name for path in folder.iterdir() if path.is_dir()}
        assert {label_of(name, done.labels) for name in names} == {0, 1}


def test_settings_that_cannot_be_used_are_not_written(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a", range(20))
    draw(tmp_path / "in" / "b", range(50, 70))
    asked = []

    def refuse(text: str) -> None:
        asked.append(tomllib.loads(text))
        if len(asked) > 1:
            raise ValueError("not these")

    target = Target(tmp_path / "out", "fruit", SCHEMA)
    with pytest.raises(ValueError, match="not these"):
        prepare(tmp_path / "in", target, graph, check_settings=refuse)
    assert [settings["data"]["labels"] for settings in asked] == [["a", "b"]] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_an_output_whose_name_no_settings_can_hold_is_a_usage_error(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a", range(20))
    with pytest.raises(PrepareError, match=r"caf\\xe9 is to stand in the settings"):
        run(tmp_path / "in", tmp_path / "caf\udce9")


def test_a_test_set_of_ones_own_is_taken_as_it_is(tmp_path: Path) -> None:
    for part, start, count in (("Train", 0, 20), ("test", 30, 3)):
        draw(tmp_path / "in" / part / "a", range(start, start + count))
        draw(tmp_path / "in" / part / "b", range(100 + start, 100 + start + count))

    done = run(tmp_path / "in", tmp_path / "out")

    assert (done.train, done.test) == (40, 6)


def test_what_lies_beside_train_and_test_is_no_class(tmp_path: Path) -> None:
    for part in ("train", "test", "val"):
        draw(tmp_path / "in" / part / "a", range(5))
    with pytest.raises(PrepareError, match="beside them val: move that away"):
        run(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    "parts",
    [("train", "val"), ("Training", "validation", "holdout"), ("Split-train", "Split-eval")],
)
def test_parts_of_a_set_are_no_classes(tmp_path: Path, parts: tuple[str, ...]) -> None:
    for number, part in enumerate(parts):
        draw(tmp_path / "in" / part / "a", range(100 * number, 100 * number + 20))
    with pytest.raises(PrepareError, match="which are parts of a set and no classes"):
        run(tmp_path / "in", tmp_path / "out")


def test_a_single_class_may_be_called_as_a_part_of_a_set(tmp_path: Path) -> None:
    for number, name in enumerate(("bus", "train", "developer")):
        draw(tmp_path / "in" / name, range(50 * number, 50 * number + 20))
    assert run(tmp_path / "in", tmp_path / "out").labels == ("bus", "developer", "train")


def test_copies_are_counted_and_stay_on_one_side_also_when_nearly_the_same(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "b", range(100, 120))
    (tmp_path / "in" / "a").mkdir()
    for number in range(20):
        pattern(number).save(tmp_path / "in" / "a" / f"{number}.png")
        pattern(number).save(tmp_path / "in" / "a" / f"{number}-again.jpg", quality=90)
    pattern(0).save(tmp_path / "in" / "a" / "copy.bmp")

    done = run(tmp_path / "in", tmp_path / "out")

    assert done.summary.copies == 1
    sides = [
        {
            bytes(Image.open(io.BytesIO(content)).convert("L").resize((4, 4)).tobytes()[:1])
            for content in laid_out(tmp_path / "out", part)["a"]
        }
        for part in ("train", "test")
    ]
    assert len(laid_out(tmp_path / "out", "test")["a"]) in (8, 9)
    numbers = [
        {path.stem.split("-")[0] for path in (tmp_path / "out/base" / part / "a").iterdir()}
        for part in ("train", "test")
    ]
    assert not numbers[0] & numbers[1]
    assert all(sides)


def test_classes_are_in_natural_order_in_any_language(tmp_path: Path) -> None:
    for number, name in enumerate(("10", "2", "1", "ß", "犬", "n\u0303andu\u0301")):
        draw(tmp_path / "in" / name, range(30 * number, 30 * number + 20))

    done = run(tmp_path / "in", tmp_path / "out")

    assert done.labels == ("1", "2", "10", "ß", "ñandú", "犬")


def test_a_class_whose_name_is_written_in_two_ways_is_one(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "caf\u00e9", range(10))
    draw(tmp_path / "in" / "cafe\u0301", range(10, 20))
    draw(tmp_path / "in" / "tea", range(100, 120))

    done = run(tmp_path / "in", tmp_path / "out")

    assert done.labels == ("caf\u00e9", "tea")
    assert done.train + done.test == 40


def test_what_systems_leave_behind_is_passed_over_and_told(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a", range(20))
    draw(tmp_path / "in" / "b" / "holidays", range(100, 120))
    for name in ("Thumbs.db", "desktop.ini", "a/.DS_Store", "a/._1.png", "b/Thumbs.db"):
        (tmp_path / "in" / name).write_bytes(b"left")
    (tmp_path / "in" / "__MACOSX").mkdir()

    done = run(tmp_path / "in", tmp_path / "out")

    assert done.labels == ("a", "b")
    assert len(done.summary.ignored) == 6
    assert "6 passed over: .DS_Store, ._1.png, Thumbs.db, __MACOSX, desktop.ini." in "".join(
        done.summary.sentences()
    )


def test_links_are_followed_and_those_that_lead_nowhere_are_named(tmp_path: Path) -> None:
    draw(tmp_path / "elsewhere", range(20))
    draw(tmp_path / "in" / "b", range(100, 120))
    (tmp_path / "in" / "a").symlink_to(tmp_path / "elsewhere")
    assert run(tmp_path / "in", tmp_path / "out").labels == ("a", "b")

    (tmp_path / "in" / "b" / "lost.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "in" / "b" / "round").symlink_to(tmp_path / "in" / "b")
    assert refused(tmp_path / "in", tmp_path / "other") == {
        "lost.png": "a link to nothing",
        "round": "a link to a folder that it lies in",
    }


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(tmp_path / "in" / "a", range(20))
    draw(tmp_path / "in" / "b" / "locked", range(100, 120))
    listed = Path.iterdir

    def iterdir(folder: Path) -> object:
        # The tests may run as root, to whom everything is readable.
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    assert refused(tmp_path / "in", tmp_path / "out") == {
        "locked": "cannot be read (Permission denied)"
    }


def test_names_that_are_no_utf8_are_taken_as_files_and_refused_as_classes(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a", range(20))
    draw(tmp_path / "in" / "b", range(100, 120))
    (tmp_path / "in" / "a" / "0.png").rename(Path(f"{tmp_path}/in/a/caf\udce9.png"))
    run(tmp_path / "in", tmp_path / "out")
    assert len(list((tmp_path / "out" / "base").rglob("caf_.png"))) == 1

    (tmp_path / "in" / "b").rename(Path(f"{tmp_path}/in/caf\udce9"))
    (tmp_path / "in" / "b").mkdir()
    assert "has to be UTF-8" in refused(tmp_path / "in", tmp_path / "other")["caf\\xe9"]


def test_the_same_picture_in_two_classes_is_refused_unless_allowed(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "ant", range(20))
    draw(tmp_path / "in" / "bee", range(100, 120))
    Image.new("L", (9, 7), 3).save(tmp_path / "in" / "bee" / "copy.bmp")

    reasons = refused(tmp_path / "in", tmp_path / "out")

    assert list(reasons) == ["copy.bmp"]
    assert reasons["copy.bmp"].startswith("the same picture as ")
    assert reasons["copy.bmp"].endswith("ant/3.png, which is of class ant")
    done = run(tmp_path / "in", tmp_path / "out", allow_duplicates=True)
    assert done.summary.clashes == 1


def test_nearly_the_same_picture_in_two_classes_or_in_train_and_test_is_refused(
    tmp_path: Path,
) -> None:
    for part, first in (("train", 0), ("test", 50)):
        for name, seed in (("ant", 0), ("bee", 100)):
            (tmp_path / "in" / part / name).mkdir(parents=True)
            for number in range(first, first + 20):
                pattern(seed + number).save(tmp_path / "in" / part / name / f"{number}.png")
    pattern(7, edge=61).save(tmp_path / "in" / "train" / "bee" / "scaled.jpg")
    pattern(108).save(tmp_path / "in" / "test" / "bee" / "leaked.jpg", quality=80)

    reasons = refused(tmp_path / "in", tmp_path / "out")

    assert sorted(reasons) == ["leaked.jpg", "scaled.jpg"]
    assert "nearly the same picture as" in reasons["scaled.jpg"]
    assert reasons["scaled.jpg"].endswith("ant/7.png, which is of class ant")
    assert reasons["leaked.jpg"].endswith("bee/8.png, which is in train")


def test_pictures_that_differ_by_colour_alone_are_not_the_same(tmp_path: Path) -> None:
    for name, channel in (("red", 0), ("blue", 2)):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number in range(100):
            pixels = np.zeros((32, 32, 3), np.uint8)
            pixels[2 + number % 10 : 20, 2 + number // 10 : 25, channel] = 200
            Image.fromarray(pixels).save(tmp_path / "in" / name / f"{number}.png")

    assert run(tmp_path / "in", tmp_path / "out").labels == ("blue", "red")


def test_every_damaged_file_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a", range(10))
    draw(tmp_path / "in" / "b", range(100, 110))
    (tmp_path / "in" / "a" / "broken.png").write_bytes(b"no image")
    (tmp_path / "in" / "b" / "notes.txt").write_text("no image")
    (tmp_path / "in" / "loose.png").write_bytes(b"no image")

    assert refused(tmp_path / "in", tmp_path / "out") == {
        "loose.png": "not in a folder of a class",
        "notes.txt": "not a picture by its name",
        "broken.png": "it is not a picture in a known format",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_what_the_graph_cannot_read_is_refused_where_it_comes_in(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a", range(20))
    draw(tmp_path / "in" / "b", range(100, 120))

    def blind(encoded: bytes) -> None:
        raise ValueError("the graph does not read it")

    with pytest.raises(DataRefused) as refusal:
        prepare(tmp_path / "in", Target(tmp_path / "out", "fruit", SCHEMA), blind)
    assert len(refusal.value.files) == 40


def test_a_class_or_a_split_with_too_few_images_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a", range(10))
    draw(tmp_path / "in" / "b", range(100, 103))
    with pytest.raises(DataRefused, match="class b has 2 images to train on and 1 to test on"):
        run(tmp_path / "in", tmp_path / "out")

    def bucket(shade: int) -> int:
        return pixel_digest(Image.new("RGB", (9, 7), (shade,) * 3)) % 10

    trained = [shade for shade in range(256) if bucket(shade) != 0]
    for part, shades in (("train", trained[:12]), ("test", trained[12:16])):
        for name in ("a", "b"):
            (tmp_path / "few" / part / name).mkdir(parents=True)
            for shade in shades[name == "b" :: 2]:
                file = tmp_path / "few" / part / name / f"{shade}.png"
                Image.new("RGB", (9, 7), (shade,) * 3).save(file)
    with pytest.raises(DataRefused, match="none of 12 falls into the split validation"):
        run(tmp_path / "few", tmp_path / "out")


def test_a_single_class_and_an_output_that_exists_are_usage_errors(tmp_path: Path) -> None:
    draw(tmp_path / "in" / "a", range(10))
    with pytest.raises(PrepareError, match="a folder of PNG or JPEG files for each class"):
        run(tmp_path / "in", tmp_path / "out")
    draw(tmp_path / "in" / "A", range(10))
    with pytest.raises(PrepareError, match="must differ by letters or digits"):
        run(tmp_path / "in", tmp_path / "out")
    with pytest.raises(PrepareError, match="is there already"):
        run(tmp_path / "in", tmp_path / "in")


def test_more_classes_than_can_be_told_apart_are_a_usage_error(tmp_path: Path) -> None:
    for number in range(257):
        (tmp_path / "in" / f"class {number}").mkdir(parents=True)
    with pytest.raises(PrepareError, match="has 257 classes; 256 are the most"):
        run(tmp_path / "in", tmp_path / "out")
