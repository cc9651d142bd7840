"""Spans appear whole, and bad ones are left out until they are released."""

import errno
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import idx, picture_folder, spans
from data.quarantine import QuarantineError, quarantine, quarantined, release

IMAGES = np.arange(3 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)
LABELS = np.array([1, 2, 3], np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with the spans 1, 2 and 3."""
    for number in range(3):
        assert spans.add(tmp_path, IMAGES, LABELS + number).span == number + 1
    return tmp_path


def test_an_added_span_holds_its_images_and_labels(root: Path) -> None:
    np.testing.assert_array_equal(idx.read_images(root / "spans" / "2" / spans.IMAGES_FILE), IMAGES)
    np.testing.assert_array_equal(
        idx.read_labels(root / "spans" / "2" / spans.LABELS_FILE), LABELS + 1
    )


def test_what_an_interrupted_call_left_behind_is_no_span_and_does_not_hinder(root: Path) -> None:
    leftover = root / "spans" / ".incoming"
    leftover.mkdir()
    (leftover / spans.IMAGES_FILE).write_bytes(b"half")
    assert spans.list_spans(root / "spans") == [1, 2, 3]
    assert spans.add(root, IMAGES, LABELS + 5).span == 4
    assert not leftover.exists()


def test_a_failed_write_leaves_no_span(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, array: object) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(idx, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        spans.add(root, IMAGES, LABELS + 5)
    assert spans.list_spans(root / "spans") == [1, 2, 3]


def test_the_same_images_and_labels_are_not_added_twice(root: Path) -> None:
    assert spans.add(root, IMAGES, LABELS + 1) == spans.Added(2, is_new=False)
    assert spans.list_spans(root / "spans") == [1, 2, 3]


def test_spans_that_are_added_at_once_get_numbers_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        added = pool.map(lambda number: spans.add(tmp_path, IMAGES, LABELS + number), range(8))
    assert sorted(one.span for one in added) == list(range(1, 9))


def test_a_quarantined_span_is_left_out_of_windows_until_it_is_released(root: Path) -> None:
    quarantine(root, 3, "its labels are shuffled")
    assert spans.usable_spans(root, 2) == [1, 2]
    assert spans.list_spans(root / "spans") == [1, 2, 3]
    assert quarantined(root)[3].reason == "its labels are shuffled"

    assert release(root, 3).reason == "its labels are shuffled"
    assert spans.usable_spans(root, 2) == [2, 3]
    assert quarantined(root) == {}


def test_a_reason_of_any_bytes_can_be_printed(root: Path) -> None:
    quarantine(root, 1, "the caf\udce9 was closed")
    assert quarantined(root)[1].reason == "the caf\\xe9 was closed"
    (root / "quarantine.json").write_text('{"2": {"reason": "\\ud800"}}')
    assert quarantined(root)[2].reason == "\\ud800"


def test_a_span_keeps_the_first_reason_of_its_quarantine(root: Path) -> None:
    quarantine(root, 2, "first")
    quarantine(root, 2, "second")
    assert quarantined(root)[2].reason == "first"


def test_the_number_of_a_quarantined_span_is_not_given_again(root: Path) -> None:
    quarantine(root, 3, "bad")
    assert spans.add(root, IMAGES, LABELS + 7).span == 4


def test_nor_after_the_span_was_removed_which_would_leave_out_the_next_one(root: Path) -> None:
    quarantine(root, 3, "bad")
    shutil.rmtree(root / "spans" / "3")
    added = spans.add(root, IMAGES, LABELS + 7).span
    assert added == 4
    assert added in spans.usable_spans(root)


def test_naming_a_span_that_is_not_there_or_not_quarantined_is_an_error(root: Path) -> None:
    with pytest.raises(QuarantineError, match="no span 9"):
        quarantine(root, 9, "bad")
    quarantine(root, 1, "bad")
    with pytest.raises(QuarantineError, match=r"span 2 is not quarantined \(quarantined: 1\)"):
        release(root, 2)


def test_a_root_without_spans_has_none(tmp_path: Path) -> None:
    assert spans.usable_spans(tmp_path / "absent") == []
    assert spans.usable_spans(tmp_path) == []


def test_spans_that_cannot_be_listed_are_no_absent_spans(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may read everything, so that the system's own refusal cannot be had here.
    def refuse(path: Path) -> object:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    for ask in (
        spans.list_spans,
        spans.list_incomplete,
        lambda folder: list(spans.not_read(folder)),
    ):
        with pytest.raises(PermissionError):
            ask(root / "spans")
    with pytest.raises(PermissionError):
        spans.choose(root)


def test_asking_for_spans_imports_nothing_heavy() -> None:
    code = "import sys, data.spans; print({'numpy', 'tensorflow', 'PIL'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[1, 2]", b'{"x": {}}', b'{"2": "bad"}', b"{", b"[" * 100_000]
)
def test_a_damaged_quarantine_costs_its_content_and_a_line_and_can_be_written_again(
    root: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "quarantine.json").write_bytes(content)
    assert spans.usable_spans(root) == [1, 2, 3]
    assert "quarantine.json is damaged" in caplog.text
    quarantine(root, 2, "bad")
    assert spans.usable_spans(root) == [1, 3]
    [aside] = root.glob("quarantine.json.damaged-*")
    assert aside.read_bytes() == content

    quarantine(root, 3, "bad")
    assert list(root.glob("quarantine.json.damaged-*")) == [aside]


def test_an_entry_that_cannot_be_read_releases_no_other(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (root / "quarantine.json").write_text('{"3": {"reason": "bad"}, "1": {"reason": 5}, "two": {}}')
    assert {span: entry.reason for span, entry in quarantined(root).items()} == {
        1: "unknown",
        3: "bad",
    }
    assert "is damaged (its entries ['two']); quarantined: 1, 3" in caplog.text
    release(root, 1)
    assert list(quarantined(root)) == [3]
    assert len(list(root.glob("quarantine.json.damaged-*"))) == 1


def _write_pictures(folder: Path, shades: range = range(3), prefix: str = "") -> None:
    (folder / "ant").mkdir(parents=True)
    for shade in shades:
        Image.new("L", (9, 9), shade).save(folder / "ant" / f"{prefix}{shade}.png")
    picture_folder.write_sums(folder)


def test_pictures_become_a_span_once_whatever_they_are_called(tmp_path: Path) -> None:
    assert spans.add_pictures(tmp_path, _write_pictures, 3) == spans.Added(1, is_new=True)
    again = spans.add_pictures(tmp_path, lambda folder: _write_pictures(folder, prefix="x"), 3)
    assert again == spans.Added(1, is_new=False)
    more = spans.add_pictures(tmp_path, lambda folder: _write_pictures(folder, range(4)), 4)
    assert more == spans.Added(2, is_new=True)
    assert spans.list_spans(tmp_path / "spans") == [1, 2]


def test_a_picture_may_be_called_what_looks_like_the_end_of_a_line(tmp_path: Path) -> None:
    _write_pictures(tmp_path / "1", prefix="a\u2028b\x85c")
    assert spans.list_spans(tmp_path) == [1]


def test_a_span_of_pictures_that_is_still_copied_is_not_complete_yet(tmp_path: Path) -> None:
    _write_pictures(tmp_path / "made")
    folder = tmp_path / "spans"
    half = folder / "1" / "ant"
    half.mkdir(parents=True)
    for name in ("SHA256SUMS", "ant/0.png", "ant/1.png"):
        shutil.copy(tmp_path / "made" / name, folder / "1" / name)
    whole = (tmp_path / "made" / "ant" / "2.png").read_bytes()
    for content in (None, whole[:20], whole[:-1]):
        if content is not None:
            (half / "2.png").write_bytes(content)
        assert spans.list_spans(folder) == []
        assert spans.list_incomplete(folder) == [1]
    (half / "2.png").write_bytes(whole)
    assert spans.list_spans(folder) == [1]
    (folder / "1" / "SHA256SUMS").unlink()
    assert spans.list_incomplete(folder) == [1]


def test_a_kill_while_pictures_are_written_leaves_no_span(tmp_path: Path) -> None:
    def killed(folder: Path) -> None:
        _write_pictures(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spans.add_pictures(tmp_path, killed, 3)
    assert spans.list_spans(tmp_path / "spans") == []
    assert not (tmp_path / "spans" / ".incoming").exists()
