"""IdxExampleGen launched from compiled IR, on the committed sample."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types.standard_artifacts import Examples

from components.idx_example_gen import component
from components.idx_example_gen.executor import Executor, FilesChangedError
from components.idx_example_gen.output import span_digests
from data import idx, picture_folder
from data.refusal import DataRefused
from data.spans import Choice
from serving.versions.publish import publish
from serving.versions.record import Pushed
from serving.versions.store import VersionStore

SAMPLE = Path(__file__).parents[3] / "data" / "sample"


def _read(artifact, split: str) -> list:
    examples = []
    for path in sorted((Path(artifact.uri) / f"Split-{split}").iterdir()):
        for record in tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator():
            examples.append(tf.train.Example.FromString(record).features.feature)
    return examples


def _origins(examples: list) -> dict[str, int]:
    names, counts = np.unique(
        [example["origin"].bytes_list.value[0].decode() for example in examples],
        return_counts=True,
    )
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _shard_bytes(artifact) -> dict[str, bytes]:
    uri = Path(artifact.uri)
    return {str(path.relative_to(uri)): path.read_bytes() for path in sorted(uri.rglob("*.gz"))}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with the sample and three spans of 300 of its training images each."""
    root = tmp_path / "data"
    shutil.copytree(SAMPLE / "base", root / "base")
    images = idx.read_images(root / "base/train-images-idx3-ubyte.gz")
    labels = idx.read_labels(root / "base/train-labels-idx1-ubyte.gz")
    for span in (1, 2, 3):
        part = slice(300 * (span - 1), 300 * span)
        (root / f"spans/{span}").mkdir(parents=True)
        idx.write(root / f"spans/{span}/images-idx3-ubyte.gz", images[part])
        idx.write(root / f"spans/{span}/labels-idx1-ubyte.gz", labels[part])
    return root


def _quarantine(root: Path, *spans: int) -> None:
    (root / "quarantine.json").write_text(json.dumps({str(span): {} for span in spans}))


def _generate(launch, root: Path, **parameters):
    parameters.setdefault("class_count", 10)
    [launched] = launch([component.IdxExampleGen(str(root), **parameters)]).values()
    [artifact] = launched.outputs["examples"]
    return launched.state, artifact


def test_every_image_becomes_an_example_with_its_pixels_and_label(launch) -> None:
    _, artifact = _generate(launch, SAMPLE, examples_per_shard=400)
    assert artifact.splits == ["train", "validation", "eval"]
    assert artifact.span == 0
    assert json.loads(artifact.get_custom_property("spans")) == []

    train, validation, test = (_read(artifact, split) for split in artifact.splits)
    assert _origins(train + validation) == {"base": 1000}
    assert 70 <= len(validation) <= 130
    assert len(list((Path(artifact.uri) / "Split-train").iterdir())) == 3

    images = idx.read_images(SAMPLE / "base/t10k-images-idx3-ubyte.gz")
    labels = idx.read_labels(SAMPLE / "base/t10k-labels-idx1-ubyte.gz")
    assert [example["label"].int64_list.value[0] for example in test] == labels.tolist()
    for example, image in zip(test, images, strict=True):
        [png] = example["image"].bytes_list.value
        np.testing.assert_array_equal(tf.io.decode_png(png).numpy()[..., 0], image)
        assert example["mean_pixel"].float_list.value[0] == pytest.approx(image.mean())


def test_spans_are_added_to_the_base_and_a_part_of_each_new_one_is_held_out(
    launch, root: Path
) -> None:
    spans = Choice((1, 2, 3), (2, 3))
    _, artifact = _generate(launch, root, spans=spans)
    assert artifact.span == 3
    assert json.loads(artifact.get_custom_property("spans")) == [1, 2, 3]
    assert json.loads(artifact.get_custom_property("new_spans")) == [2, 3]
    train, validation, test = (_read(artifact, split) for split in artifact.splits)
    held_out = _origins(test)
    assert held_out == {"base": 200, "span-2": held_out["span-2"], "span-3": held_out["span-3"]}
    assert 30 <= held_out["span-3"] <= 90
    assert _origins(train + validation) == {
        "base": 1000,
        "span-1": 300,
        "span-2": 300 - held_out["span-2"],
        "span-3": 300 - held_out["span-3"],
    }


def test_lineage_names_each_span_with_its_images_and_the_digest_of_its_files(
    launch, root: Path
) -> None:
    _, artifact = _generate(launch, root, window=2)
    details = json.loads(artifact.get_custom_property("spans_detail"))
    assert [(entry["span"], entry["images"]) for entry in details] == [(2, 300), (3, 300)]
    assert all(len(entry["sha256"]) == 64 for entry in details)
    assert details[0]["sha256"] != details[1]["sha256"]


def test_without_the_base_a_window_of_spans_is_trained_on(launch, root: Path) -> None:
    _, artifact = _generate(launch, root, window=2, include_base=False)
    train, validation, test = (_read(artifact, split) for split in artifact.splits)
    assert set(_origins(train + validation)) == {"span-2", "span-3"}
    assert _origins(test)["base"] == 200


def test_what_the_served_version_was_trained_on_is_not_new(
    launch, root: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_text("a model")
    publish(VersionStore(tmp_path / "serving"), model, Pushed(spans=[1, 2], new_spans=[2]))
    _, artifact = _generate(launch, root, serving_dir=str(tmp_path / "serving"))
    assert json.loads(artifact.get_custom_property("new_spans")) == [3]
    _, again = _generate(launch, root, serving_dir=str(tmp_path / "serving"), last_span=2)
    assert json.loads(again.get_custom_property("new_spans")) == [2]


def test_a_span_that_was_replaced_since_it_was_trained_on_is_new(
    launch, root: Path, tmp_path: Path
) -> None:
    _, trained_on = _generate(launch, root)
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_text("a model")
    pushed = Pushed(spans=[1, 2, 3], new_spans=[3], span_digests=span_digests([trained_on]))
    publish(VersionStore(tmp_path / "serving"), model, pushed)

    def new_spans(**parameters) -> list[int]:
        _, found = _generate(launch, root, serving_dir=str(tmp_path / "serving"), **parameters)
        return json.loads(found.get_custom_property("new_spans"))

    assert new_spans() == [3]
    assert new_spans(window=2) == []
    labels = idx.read_labels(root / "spans/2/labels-idx1-ubyte.gz")
    idx.write(root / "spans/2/labels-idx1-ubyte.gz", labels[::-1])
    assert new_spans() == [2, 3]
    assert new_spans(window=2) == [2]
    # One that is gone is none.
    shutil.rmtree(root / "spans/3")
    assert new_spans() == [2]


def test_a_quarantined_span_is_left_out(launch, root: Path) -> None:
    _quarantine(root, 3)
    _, artifact = _generate(launch, root, window=1)
    assert json.loads(artifact.get_custom_property("spans")) == [2]


def test_a_run_for_the_past_reads_no_newer_spans(launch, root: Path) -> None:
    _, artifact = _generate(launch, root, window=2, last_span=2)
    assert json.loads(artifact.get_custom_property("spans")) == [1, 2]
    assert artifact.span == 2


def test_the_last_span_can_be_given_to_each_run_of_a_compiled_pipeline(
    launch_in, root: Path, tmp_path: Path
) -> None:
    last_span = RuntimeParameter("last_span", ptype=int, default=0)
    node = component.IdxExampleGen(str(root), 10, last_span=last_span)
    [launched] = launch_in(tmp_path, [node], last_span=1).values()
    assert launched.outputs["examples"][0].span == 1


def test_when_every_span_is_quarantined_the_official_images_are_read(launch, root: Path) -> None:
    _quarantine(root, 1, 2, 3)
    _, artifact = _generate(launch, root, include_base=False)
    assert artifact.span == 0
    assert set(_origins(_read(artifact, "train"))) == {"base"}


def test_the_cache_sees_content_and_spans_and_nothing_else(launch, root: Path) -> None:
    state, first = _generate(launch, root, window=2)
    assert state == "COMPLETE"
    (root / "spans/3/labels-idx1-ubyte.gz").touch()
    assert _generate(launch, root, window=2)[0] == "CACHED"

    shutil.copytree(root / "spans/1", root / "spans/4")
    _quarantine(root, 4)
    assert _generate(launch, root, window=2)[0] == "CACHED"
    assert _generate(launch, root, window=2, last_span=3)[0] == "CACHED"
    _quarantine(root)
    state, fresh = _generate(launch, root, window=2)
    assert (state, fresh.span) == ("COMPLETE", 4)

    shutil.rmtree(root / "spans/4")
    labels = idx.read_labels(root / "spans/2/labels-idx1-ubyte.gz")
    idx.write(root / "spans/2/labels-idx1-ubyte.gz", labels[::-1])
    state, changed = _generate(launch, root, window=2)
    assert state == "COMPLETE"
    assert _shard_bytes(changed) != _shard_bytes(first)


def test_the_same_files_give_the_same_shards_byte_for_byte(launch_in, root: Path, tmp_path) -> None:
    shards = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        _, artifact = _generate(
            lambda components, name=name: launch_in(tmp_path / name, components),
            root,
            window=3,
            examples_per_shard=200,
        )
        shards.append(_shard_bytes(artifact))
    assert len(shards[0]) > 4
    assert shards[0] == shards[1]


def test_bad_data_fails_the_node_and_leaves_nothing_behind(launch, root: Path, tmp_path) -> None:
    (root / "spans/3/images-idx3-ubyte.gz").write_bytes(b"rotten")
    with pytest.raises(
        DataRefused, match=r"spans/3/images-idx3-ubyte\.gz: corrupt gzip"
    ) as refused:
        _generate(launch, root)
    assert refused.value.blamed_spans == [3]
    assert not list((tmp_path / "pipeline_root").rglob("*.gz*"))


def executor(folder: Path) -> Executor:
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=["--runner=FnApiRunner", "--sdk_container_image=unused"],
        tmp_dir=str(folder),
        unique_id="1",
    )
    return Executor(context)


def test_it_resolves_the_window_itself_where_no_driver_runs(root: Path, tmp_path: Path) -> None:
    artifact = Examples()
    artifact.uri = str(tmp_path / "examples")
    parameters = component.IdxExampleGen(str(root), 10, window=2).spec.exec_properties
    executor(tmp_path).Do({}, {"examples": [artifact]}, dict(parameters))
    assert artifact.span == 3


def test_files_that_change_during_the_run_are_an_accident_and_no_verdict(
    root: Path, tmp_path: Path
) -> None:
    artifact = Examples()
    artifact.uri = str(tmp_path / "examples")
    parameters = dict(component.IdxExampleGen(str(root), 10).spec.exec_properties)
    parameters["input_fingerprint"] = "what the driver saw"
    with pytest.raises(FilesChangedError, match="the files changed while they were being read"):
        executor(tmp_path).Do({}, {"examples": [artifact]}, parameters)
    assert not (tmp_path / "examples").exists()


@pytest.mark.parametrize("parameters", [{"window": -1}, {"examples_per_shard": 0}])
def test_parameters_that_make_no_sense_are_refused(parameters: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(parameters))):
        component.IdxExampleGen("anywhere", 10, **parameters)


def _draw(folder: Path, names: tuple[str, ...], count: int, first: int = 0) -> None:
    """Draws pictures of each class, JPEG and PNG."""
    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for picture in range(first, first + count):
            pixels = np.random.default_rng([number, picture]).integers(0, 256, (8, 9, 3), np.uint8)
            suffix = "jpg" if picture % 2 else "png"
            Image.fromarray(pixels).save(folder / name / f"{picture}.{suffix}")


@pytest.fixture
def picture_root(tmp_path: Path) -> Path:
    """A data root whose base set and one span are folders of pictures."""
    root = tmp_path / "pictures"
    _draw(root / "base/train", ("ant", "bee"), 40)
    _draw(root / "base/test", ("ant", "bee"), 5, first=100)
    _draw(root / "spans/1", ("ant", "bee"), 10, first=200)
    picture_folder.write_sums(root / "spans/1")
    return root


def test_pictures_become_examples_byte_for_byte(launch, picture_root: Path) -> None:
    parameters = {"class_count": 2, "labels": ("bee", "ant"), "examples_per_shard": 20}
    _, artifact = _generate(launch, picture_root, **parameters)
    train, validation, test = (_read(artifact, split) for split in artifact.splits)
    assert _origins(train + validation)["base"] == 80
    assert _origins(test)["base"] == 10
    assert _origins(train + validation + test)["span-1"] == 20
    for number, name in enumerate(("bee", "ant")):
        given = {path.read_bytes() for path in picture_root.rglob(f"{name}/*.*")}
        found = {
            example["image"].bytes_list.value[0]
            for example in train + validation + test
            if example["label"].int64_list.value == [number]
        }
        assert found == given
    [detail] = json.loads(artifact.get_custom_property("spans_detail"))
    assert (detail["span"], detail["images"], len(detail["sha256"])) == (1, 20, 64)
    assert not (Path(artifact.uri) / "looked").exists()


def test_the_cache_sees_what_pictures_there_are(launch, picture_root: Path) -> None:
    parameters = {"class_count": 2, "labels": ("ant", "bee")}
    assert _generate(launch, picture_root, **parameters)[0] == "COMPLETE"
    (picture_root / "base/train/ant/0.png").touch()
    assert _generate(launch, picture_root, **parameters)[0] == "CACHED"
    (picture_root / "base/train/ant/0.png").unlink()
    assert _generate(launch, picture_root, **parameters)[0] == "COMPLETE"


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"max_pixels": 71}, "it has 9 x 8 pixels, more than 71"),
        ({"labels": ("ants", "bee")}, "spans/1/ant: no class has this name"),
    ],
)
def test_a_mistake_in_the_settings_is_refused_and_no_span_of_pictures_blamed(
    launch, root: Path, picture_root: Path, setting: dict, reason: str
) -> None:
    """The base of IDX files has no names of classes, and one class here is as good as ten."""
    for labels in (root / "base").glob("*labels*"):
        idx.write(labels, idx.read_labels(labels) // 5)
    shutil.rmtree(root / "spans")
    shutil.copytree(picture_root / "spans", root / "spans")
    parameters = {"class_count": 2, "labels": ("ant", "bee"), **setting}
    for spans in (Choice((1,), (1,)), Choice((1,), ())):
        with pytest.raises(DataRefused, match=reason) as refused:
            _generate(launch, root, spans=spans, **parameters)
        assert refused.value.blamed_spans == []


def test_every_picture_that_cannot_be_trained_on_is_named_and_its_span_blamed(
    launch, picture_root: Path
) -> None:
    span = picture_root / "spans/1"
    (span / "ant/200.png").write_bytes(b"no picture")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (9, 8), "red").save(span / "bee/200.png", exif=turned)
    # Pillow shows a picture that lacks its last bytes, the model's graph does not.
    whole = (span / "bee/202.png").read_bytes()
    (span / "bee/202.png").write_bytes(whole[:-6])
    (span / "cat").mkdir()
    Image.new("RGB", (9, 8)).save(span / "cat/1.png")
    picture_folder.write_sums(span)
    with pytest.raises(DataRefused) as refused:
        _generate(launch, picture_root, class_count=2, labels=("ant", "bee"))
    assert refused.value.blamed_spans == [1]
    unreadable, misread, cut, unknown = refused.value.reasons
    assert unreadable.endswith("ant/200.png: it is not a picture in a known format")
    assert "bee/200.png: means another picture to a server than to people (turned)" in misread
    assert cut.endswith("bee/202.png: its content is neither PNG nor JPEG, or damaged")
    assert unknown.endswith("spans/1/cat: no class has this name")
