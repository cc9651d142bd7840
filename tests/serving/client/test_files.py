"""Files and folders of pictures, sent in batches; a bad one does not stop the others."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from data.photos import prepare
from serving.client.errors import InvalidRequestError, UnavailableError
from serving.client.files import Answer, classify_files, find_pictures
from serving.client.interface import Example, ScoredLabel
from serving.status import Code


class Brightness:
    """A model that answers with the largest pixel, and refuses a request with anything but PNG."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def classify(
        self,
        examples: Sequence[Example],
        signature_name: str = "",
        version: int | None = None,
        label: str | None = None,
    ) -> list[list[ScoredLabel]]:
        self.batches.append(len(examples))
        contents = [example["image"] for example in examples]
        assert all(isinstance(content, bytes) for content in contents)
        if not all(content.startswith(b"\x89PNG") for content in contents):
            raise InvalidRequestError(Code.INVALID_ARGUMENT, "Unknown image file format.\nDetails")
        return [
            [ScoredLabel(str(Image.open(io.BytesIO(content)).getextrema()), 1.0)]
            for content in contents
        ]

    def signature(self, *_: object) -> None: ...


def garment(path: Path) -> Path:
    image = Image.new("RGB", (60, 60), "white")
    image.paste("black", (20, 10, 40, 50))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def ask(model: Brightness, paths: Sequence[Path], **options: object) -> list[Answer]:
    return list(classify_files(model, paths, **({"prepare": prepare} | options)))


def test_folders_stand_for_the_pictures_below_them_in_order(tmp_path: Path) -> None:
    named = tmp_path / "named.dat"
    inside = [garment(tmp_path / "folder" / name) for name in ("b.jpg", "a.PNG", "deep/c.webp")]
    (tmp_path / "folder" / "notes.txt").write_text("no picture")

    found = find_pictures([named, tmp_path / "folder", inside[0]])

    assert found == [named, inside[1], inside[0], inside[2]]


def test_links_are_followed_and_what_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = garment(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "folder" / "locked").mkdir(parents=True)
    (tmp_path / "folder" / "link").symlink_to(linked.parent)
    (tmp_path / "folder" / "round").symlink_to(tmp_path / "folder")
    (tmp_path / "folder" / "._a.png").write_bytes(b"left by an operating system")
    listed = Path.iterdir

    def iterdir(folder: Path) -> object:
        # The tests may run as root, to whom everything is readable.
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied")
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    found = find_pictures([tmp_path / "folder"])
    assert found == [tmp_path / "folder" / "link" / "a.png", tmp_path / "folder" / "locked"]
    assert [answer.problem for answer in ask(Brightness(), found)] == [
        None,
        "this folder cannot be read",
    ]


def test_a_pipe_in_a_folder_is_no_picture_and_a_link_to_nothing_is_a_problem(
    tmp_path: Path,
) -> None:
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    (tmp_path / "c.png").symlink_to("nowhere")
    found = find_pictures([tmp_path])
    assert found == [tmp_path / "c.png"]
    assert ask(Brightness(), found)[0].problem == "No such file or directory"


def test_files_are_prepared_and_sent_in_batches(tmp_path: Path) -> None:
    paths = [garment(tmp_path / f"{number}.jpg") for number in range(5)]
    model, done = Brightness(), []

    answers = ask(model, paths, batch_size=2, on_answers=done.append)

    assert model.batches == [2, 2, 1]
    assert done == [2, 2, 1]
    assert [answer.path for answer in answers] == paths
    assert {answer.labels[0].label for answer in answers} == {"(0, 255)"}


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_answered(tmp_path: Path) -> None:
    good = garment(tmp_path / "good.jpg")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "empty.jpg").touch()
    paths = [tmp_path / "bad.jpg", good, tmp_path / "empty.jpg", tmp_path / "absent.jpg"]

    bad, answered, empty, absent = ask(Brightness(), paths)

    assert bad.problem == "it is not a picture in a known format"
    assert answered.labels
    assert answered.problem is None
    assert empty.problem == "it is empty"
    assert absent.problem == "No such file or directory"


def test_raw_sends_the_bytes_and_a_picture_that_the_model_refuses_spoils_no_other(
    tmp_path: Path,
) -> None:
    jpeg, png = garment(tmp_path / "a.jpg"), garment(tmp_path / "b.png")

    refused, answered = ask(Brightness(), [jpeg, png], prepare=None)

    assert refused.problem == "Unknown image file format."
    assert answered.labels[0].label == "((0, 255), (0, 255), (0, 255))"


def test_a_server_that_is_not_there_is_no_fault_of_a_file(tmp_path: Path) -> None:
    class Away(Brightness):
        def classify(self, *_: object, **__: object) -> list[list[ScoredLabel]]:
            raise UnavailableError(Code.UNAVAILABLE, "nobody")

    with pytest.raises(UnavailableError):
        ask(Away(), [garment(tmp_path / "a.jpg")])
