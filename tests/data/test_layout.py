"""Which files of a data root are read."""

from pathlib import Path

import pytest

from data.layout import Role, resolve
from data.spans import Choice, choose, list_incomplete, list_spans, not_read, window


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part in ("train", "t10k"):
        _touch(
            tmp_path,
            f"base/{part}-images-idx3-ubyte.gz",
            f"base/{part}-labels-idx1-ubyte.gz",
        )
    for span in ("1", "2", "10"):
        _touch(tmp_path, f"spans/{span}/images-idx3-ubyte.gz", f"spans/{span}/labels-idx1-ubyte.gz")
    return tmp_path


def test_spans_are_directories_named_by_a_plain_positive_integer(root: Path) -> None:
    _touch(root, "spans/.3.partial/images-idx3-ubyte", "spans/0/images-idx3-ubyte")
    _touch(root, "spans/04/images-idx3-ubyte", "spans/x/images-idx3-ubyte", "spans/5/readme")
    _touch(root, "spans/6/.images-idx3-ubyte.gz.aB3xY", "spans/6/labels-idx1-ubyte.gz")
    assert list_spans(root / "spans") == [1, 2, 10]
    assert list_spans(root / "absent") == []


def test_a_folder_that_lacks_a_file_is_no_span_yet(root: Path) -> None:
    _touch(root, "spans/7/.images-idx3-ubyte.gz.aB3xY", "spans/7/labels-idx1-ubyte.gz")
    assert list_incomplete(root / "spans") == [7]
    _touch(root, "spans/7/images-idx3-ubyte.gz")
    assert list_incomplete(root / "spans") == []
    assert list_spans(root / "spans") == [1, 2, 7, 10]


@pytest.mark.parametrize("kind", ["link", "folder"])
def test_a_link_to_nothing_and_a_folder_are_no_file_of_a_span_or_of_the_base(
    root: Path, kind: str
) -> None:
    for name in ("spans/2/images-idx3-ubyte.gz", "base/t10k-labels-idx1-ubyte.gz"):
        (root / name).unlink()
        if kind == "link":
            (root / name).symlink_to("/nowhere")
        else:
            (root / name).mkdir()
    assert list_incomplete(root / "spans") == [2]
    assert [defect for _, defect in resolve(root, [1]).defects] == [
        f"{root}/base/t10k-labels-idx1-ubyte: neither this file nor its .gz is there"
    ]


def test_a_number_that_the_metadata_has_no_room_for_is_no_span_and_is_named(root: Path) -> None:
    largest = 2**63 - 1
    for span in (largest, largest + 1, 99999999999999999999):
        _touch(root, f"spans/{span}/images-idx3-ubyte", f"spans/{span}/labels-idx1-ubyte")
    _touch(root, "spans/7/labels-idx1-ubyte.gz")
    assert list_spans(root / "spans") == [1, 2, 10, largest]
    assert list(not_read(root / "spans")) == [
        "span 7 is not complete yet, and not read",
        f"{root}/spans/{largest + 1} is no span, and not read: the largest is {largest}",
        f"{root}/spans/99999999999999999999 is no span, and not read: the largest is {largest}",
    ]


def test_new_are_the_spans_that_the_served_version_was_not_trained_on(root: Path) -> None:
    assert choose(root) == Choice((1, 2, 10), (1, 2, 10))
    assert choose(root, trusted=[1, 2], judged=[2]) == Choice((1, 2, 10), (10,))
    assert choose(root, size=1, trusted=[1, 2], judged=[2]) == Choice((10,), (10,))


def test_without_new_data_a_run_reads_as_the_one_that_pushed(root: Path) -> None:
    assert choose(root, trusted=[1, 2, 10], judged=[10]) == Choice((1, 2, 10), (10,))


@pytest.mark.parametrize(
    ("size", "quarantined", "expected"),
    [
        (1, (), [10]),
        (2, (), [2, 10]),
        (9, (), [1, 2, 10]),
        (None, (), [1, 2, 10]),
        (2, (10,), [1, 2]),
        (1, (1, 2, 10), []),
    ],
)
def test_a_window_is_the_newest_spans_that_are_not_quarantined(size, quarantined, expected) -> None:
    assert window([10, 1, 2], size, quarantined) == expected


def test_a_window_of_the_past_ends_at_its_last_span() -> None:
    assert window([1, 2, 10], 2, last_span=9) == [1, 2]
    assert window([1, 2, 10], 1, quarantined=[2], last_span=2) == [1]


def test_without_spans_the_official_training_images_are_read(root: Path) -> None:
    pairs = resolve(root, []).pairs
    assert [(pair.origin, pair.role, pair.images.name) for pair in pairs] == [
        ("base", Role.TRAINING, "train-images-idx3-ubyte.gz"),
        ("base", Role.TEST, "t10k-images-idx3-ubyte.gz"),
    ]


def test_spans_are_added_to_the_base_or_take_its_place(root: Path) -> None:
    layout = resolve(root, [2, 10], [10])
    assert [(pair.origin, pair.role) for pair in layout.pairs] == [
        ("base", Role.TRAINING),
        ("span-2", Role.TRAINING),
        ("span-10", Role.NEW_SPAN),
        ("base", Role.TEST),
    ]
    assert layout.newest_span == 10
    alone = resolve(root, [2, 10], [10], include_base=False)
    assert [pair.origin for pair in alone.pairs] == ["span-2", "span-10", "base"]


def test_the_former_name_of_the_base_folder_is_still_read(root: Path) -> None:
    (root / "base").rename(root / "official")
    assert resolve(root, []).pairs[0].images.parent == root / "official"


def test_missing_and_doubled_files_are_defects_that_name_the_file(root: Path) -> None:
    (root / "spans/2/labels-idx1-ubyte.gz").unlink()
    _touch(root, "base/t10k-images-idx3-ubyte")
    missing, doubled = resolve(root, [2]).defects
    assert missing[0] == "span-2"
    assert str(root / "spans/2/labels-idx1-ubyte") in missing[1]
    assert str(root / "base/t10k-images-idx3-ubyte") in doubled[1]


def test_the_fingerprint_sees_content_and_spans_but_not_times(root: Path) -> None:
    before = resolve(root, [1, 2]).fingerprint()
    labels = root / "spans/1/labels-idx1-ubyte.gz"
    labels.touch()
    assert resolve(root, [1, 2]).fingerprint() == before
    assert resolve(root, [2]).fingerprint() != before
    labels.write_bytes(labels.read_bytes()[::-1])
    assert resolve(root, [1, 2]).fingerprint() != before
