"""Folders of pictures are complete when all is there that their list of checksums names."""

import os
from pathlib import Path

import pytest

from data import picture_folder


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(os.fsencode(name))
    return folder


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x85", "\r"])
def test_a_name_may_have_what_python_takes_for_the_end_of_a_line(tmp_path: Path, sign: str) -> None:
    folder = fill(tmp_path, f"a{sign}b/1.png", f"bee/{sign}2.png")
    picture_folder.write_sums(folder)
    assert picture_folder.is_complete(folder)
    assert picture_folder.defects(folder) == []


def test_a_list_as_windows_writes_it_is_read(tmp_path: Path) -> None:
    folder = fill(tmp_path, "ant/1.png")
    picture_folder.write_sums(folder)
    sums = folder / "SHA256SUMS"
    sums.write_bytes(sums.read_bytes().replace(b"\n", b"\r\n"))
    assert picture_folder.is_complete(folder)


def test_every_defect_can_be_printed_whatever_bytes_a_name_is_of(tmp_path: Path) -> None:
    folder = fill(tmp_path / "caf\udce9", "ant/1.png", "ant/2.png", "ant/3.png")
    picture_folder.write_sums(folder)
    sums = folder / "SHA256SUMS"
    sums.write_bytes(sums.read_bytes().replace(b"ant/1.png", b"ant/\xe9.png"))
    fill(folder, "ant/\udcff.png", "bee/1.png")
    (folder / "ant/2.png").write_bytes(b"other")
    shown = f"{tmp_path}/caf\\xe9/ant"
    assert picture_folder.defects(folder) == [
        f"{shown}/\\xff.png: its name is not UTF-8, rename it",
        f"{shown}/1.png: not named in SHA256SUMS",
        f"{tmp_path}/caf\\xe9/bee/1.png: not named in SHA256SUMS",
        f"{shown}/\\xe9.png: not there, but named in SHA256SUMS",
        f"{shown}/2.png: not the file that SHA256SUMS names",
    ]
