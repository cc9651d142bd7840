"""The rooms of the house: imports run one way, and the documents name files that exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

ARCHITECTURE = ROOT / "docs" / "architecture.md"
WHERE_TO_CHANGE = ROOT / "docs" / "where_to_change.md"


def order() -> list[set[str]]:
    """The floors, from the roof to the ground, as the architecture page has them."""
    [line] = re.findall(r"^    (runner\.py -> .*)$", ARCHITECTURE.read_text(), re.MULTILINE)
    return [
        {room.strip().removesuffix(".py") for room in floor.split(",")}
        for floor in line.split("->")
    ]


def rooms() -> list[str]:
    return [room for floor in order() for room in floor]


def sources(room: str) -> list[Path]:
    return [ROOT / "runner.py"] if room == "runner" else sorted((ROOT / room).rglob("*.py"))


def imported_rooms(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)


def test_every_room_is_on_the_page() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages <= set(rooms()) | {"benchmarks"}
    assert {"cli", "orchestration", "reporting", "runs", "pipeline"} <= set(rooms())


@pytest.mark.parametrize("room", rooms())
def test_no_import_runs_back_up_or_across(room: str) -> None:
    floors = order()
    floor = next(number for number, names in enumerate(floors) if room in names)
    allowed = {room, *(name for names in floors[floor + 1 :] for name in names)}
    forbidden = set(rooms()) - allowed
    assert sources(room)
    back = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in sources(room)
        for name in imported_rooms(path)
        if name in forbidden
    ]
    assert back == []


@pytest.mark.parametrize(
    ("room", "banned"),
    [
        ("serving/client", "serving.model_server"),
        ("serving/versions", "serving.model_server"),
        ("serving/model_server", "serving.client"),
        ("pipeline/settings", "pipeline.tuning"),
        ("pipeline/modeling", "pipeline.tuning"),
    ],
)
def test_neighbours_inside_a_room_keep_apart(room: str, banned: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert not f"{node.module}.".startswith(f"{banned}."), path


def test_the_pipelines_own_room_is_small() -> None:
    assert len(list((ROOT / "pipeline").glob("*.py"))) <= 14


def named_paths(page: Path) -> list[str]:
    return re.findall(r"`([\w./-]+\.(?:py|md|toml|pbtxt|j2|yml|yaml))`", page.read_text())


def test_where_to_change_names_one_file_and_one_test_for_each_of_its_changes() -> None:
    rows = re.findall(
        r"^\| (?!change)(?!-)(.+?) \| (.+?) \| (.+?) \|$", WHERE_TO_CHANGE.read_text(), re.M
    )
    assert len(rows) >= 20
    for change, file, test in rows:
        assert re.match(r"`[\w./-]+`", file), change
        assert re.match(r"`tests/[\w./-]+`", test), change


@pytest.mark.parametrize("page", [ARCHITECTURE, WHERE_TO_CHANGE], ids=lambda page: page.name)
def test_the_files_that_a_page_names_exist(page: Path) -> None:
    paths = named_paths(page)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
