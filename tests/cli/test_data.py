"""The `data` verbs: what they print and how they exit."""

import io
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from typer.testing import CliRunner

from cli.data import app
from data import fashion_mnist, spans
from data.quarantine import quarantine
from data.sources import FolderSource
from pipeline.settings.errors import UsageError

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "base"


def _invoke(*arguments: object, workdir: Path):
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(app, [*words, "--workdir", str(workdir)])


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A workdir whose data root holds the sample in the place of the official files."""
    shutil.copytree(SAMPLE, tmp_path / "data" / "base")
    return tmp_path


def test_split_lays_out_spans(workdir: Path) -> None:
    done = _invoke("split", "--spans", 4, workdir=workdir)
    assert done.exit_code == 0
    assert done.stdout == f"Spans 1 to 4 in {workdir}/data/spans.\n"
    assert spans.list_spans(workdir / "data" / "spans") == [1, 2, 3, 4]


def test_split_without_the_official_files_says_how_to_get_them(tmp_path: Path) -> None:
    done = _invoke("split", "--spans", 4, workdir=tmp_path)
    assert isinstance(done.exception, UsageError)
    assert "runner.py data fetch" in str(done.exception)


def test_ingest_adds_the_next_span_once(workdir: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.npz"
    np.savez(new, images=np.zeros((2, 28, 28), np.uint8), labels=np.array([0, 9], np.uint8))
    assert _invoke("ingest", new, workdir=workdir).stdout.startswith("2 images are span 1 in ")
    again = json.loads(_invoke("ingest", new, "--json", workdir=workdir).stdout)
    assert (again["status"], again["span"]) == ("known", 1)
    assert again["notes"] == []
    classes = json.loads((workdir / "data/spans/1" / spans.CLASSES_FILE).read_text())
    assert (classes[0], classes[9]) == ("T-shirt/top", "Ankle boot")


def test_ingest_says_so_where_the_images_are_a_span_that_no_run_reads(
    workdir: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.npz"
    np.savez(new, images=np.zeros((2, 28, 28), np.uint8), labels=np.array([0, 9], np.uint8))
    _invoke("ingest", new, workdir=workdir)
    quarantine(workdir / "data", 1, "the lens was dirty")
    assert _invoke("ingest", new, workdir=workdir).stdout.splitlines() == [
        "Nothing new: these 2 images are span 1 already.",
        "It is quarantined: no run reads it until `data release 1`.",
    ]


def test_ingest_takes_tf_records(workdir: Path, tmp_path: Path) -> None:
    example = tf.train.Example()
    encoded = io.BytesIO()
    Image.new("L", (30, 30), 90).save(encoded, "PNG")
    example.features.feature["image"].bytes_list.value.append(encoded.getvalue())
    example.features.feature["label"].int64_list.value.append(8)
    file = tmp_path / "new.tfrecord"
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(example.SerializeToString())
    assert _invoke("ingest", file, workdir=workdir).stdout.startswith("1 images are span 1 in ")
    [taken] = (workdir / "data" / "spans" / "1").glob("Bag/*.png")
    assert taken.read_bytes() == encoded.getvalue()


def test_ingest_takes_pictures_as_they_are(workdir: Path, tmp_path: Path) -> None:
    (tmp_path / "photos" / "Bag").mkdir(parents=True)
    picture = tmp_path / "photos" / "Bag" / "a.png"
    Image.new("RGBA", (60, 40), (200, 200, 200, 255)).save(picture)

    taken = _invoke("ingest", tmp_path / "photos", workdir=workdir)
    assert taken.stdout.startswith("1 images are span 1 in ")
    span = workdir / "data" / "spans" / "1"
    assert (span / "Bag" / "a.png").read_bytes() == picture.read_bytes()
    assert spans.list_spans(workdir / "data" / "spans") == [1]
    again = json.loads(_invoke("ingest", tmp_path / "photos", "--json", workdir=workdir).stdout)
    assert (again["status"], again["span"]) == ("known", 1)


def test_a_refusal_lists_all_files_with_reasons_as_a_table_and_as_json(
    workdir: Path, tmp_path: Path
) -> None:
    (tmp_path / "photos" / "Bag").mkdir(parents=True)
    for name in ("a.png", "b.webp"):
        (tmp_path / "photos" / "Bag" / name).write_text("no picture")

    refused = _invoke("ingest", tmp_path / "photos", workdir=workdir)
    assert refused.exit_code == 5
    assert refused.stderr.count("it is not a picture in a known format") == 2
    said = json.loads(_invoke("ingest", tmp_path / "photos", "--json", workdir=workdir).stdout)
    assert [Path(found["file"]).name for found in said["files"]] == ["a.png", "b.webp"]
    assert said["files"][0]["reason"] == "it is not a picture in a known format"


def test_prepare_refuses_damaged_pictures_and_names_them(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / "a.jpg").write_text("no image")

    words = ["prepare", str(tmp_path / "pets"), "--output", str(tmp_path / "out")]
    refused = CliRunner().invoke(app, words)

    assert refused.exit_code == 5
    assert "cats/a.jpg: it is not a picture in a known format" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_what_to_type_after_prepare_can_be_pasted(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for shade in range(10):
            path = tmp_path / "pets" / name / f"{shade}.png"
            Image.new("L", (28, 28), 20 * shade + ord(name[0]) % 5).save(path)

    words = ["prepare", str(tmp_path / "pets"), "--output", str(tmp_path / "my pets")]
    done = CliRunner().invoke(app, words)

    settings = str(tmp_path / "my pets" / "settings.toml")
    assert shlex.split(done.stdout.splitlines()[-1])[-2:] == ["--config", settings]


def test_prepare_asks_for_a_name_that_later_verbs_take_before_it_looks(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        (tmp_path / "pets" / name / "a.jpg").write_text("no image")
    words = ["prepare", str(tmp_path / "pets"), "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*words, "--name", "my model!"])
    assert isinstance(done.exception, UsageError)
    assert "serving.model_name = 'my model!'" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_ingest_lists_bad_files_and_takes_nothing_in(workdir: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "Sneaker").mkdir(parents=True)
    (photos / "Sneaker" / "a.png").write_text("no image")
    (photos / "Hat").mkdir()
    refused = _invoke("ingest", photos, workdir=workdir)
    assert refused.exit_code == 5
    for defect in ("a.png: it is not a picture", "Hat: no class has", "Nothing was taken in"):
        assert defect in refused.stderr
    assert spans.list_spans(workdir / "data" / "spans") == []
    as_json = json.loads(_invoke("ingest", photos, "--json", workdir=workdir).stdout)
    assert (as_json["status"], len(as_json["reasons"])) == ("data_refused", 2)


def test_ingest_of_nothing_known_is_a_mistake_of_the_user(workdir: Path, tmp_path: Path) -> None:
    done = _invoke("ingest", tmp_path / "absent", workdir=workdir)
    assert isinstance(done.exception, UsageError)


def test_release_says_what_was_recorded(workdir: Path) -> None:
    _invoke("split", "--spans", 2, workdir=workdir)
    quarantine(workdir / "data", 2, "its labels are shuffled")
    done = _invoke("release", 2, workdir=workdir)
    assert done.stdout.startswith("Span 2 is released; it was quarantined on 20")
    assert "its labels are shuffled" in done.stdout
    assert isinstance(_invoke("release", 2, workdir=workdir).exception, UsageError)


def test_the_committed_sample_is_never_written_to(workdir: Path) -> None:
    done = _invoke("split", "--spans", 2, "--preset", "smoke", workdir=workdir)
    assert isinstance(done.exception, UsageError)
    assert not (SAMPLE.parent / "spans").exists()


def test_a_data_root_of_ones_own_takes_spans_and_is_not_filled(
    workdir: Path, tmp_path: Path
) -> None:
    root = workdir / "data"
    own = ("--preset", "smoke", "--set", f"data.root={root}")
    _invoke("split", "--spans", 2, *own, workdir=tmp_path / "elsewhere")
    assert spans.list_spans(root / "spans") == [1, 2]
    refused = _invoke("fetch", *own, workdir=tmp_path / "elsewhere")
    assert isinstance(refused.exception, UsageError)


def test_fetch_that_finds_no_source_fails_with_every_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = (FolderSource(tmp_path / "absent", "the first place"),)
    monkeypatch.setattr(fashion_mnist, "default_sources", lambda folder: nowhere)
    done = _invoke("fetch", workdir=tmp_path)
    assert done.exit_code == 1
    assert "the first place: there is no folder" in done.stderr


def test_a_reason_is_listed_as_it_was_given(workdir: Path) -> None:
    _invoke("split", "--spans", 2, workdir=workdir)
    _invoke("quarantine", 1, "--reason", "see [/mnt/lab]", workdir=workdir)
    assert "see [/mnt/lab]" in _invoke("list", workdir=workdir).stdout
