"""A text is shown as it is, wherever it came from."""

import io
import re

import pytest
from rich.table import Table

from orchestration.console import plain_console
from tests.conftest import ROOT

TEXTS = ["left [/] top", "b [red]", "see [/mnt/lab/notes]", ":bag:", r"\[a]"]


@pytest.mark.parametrize("text", TEXTS)
def test_no_text_is_taken_for_markup_or_an_emoji(text: str) -> None:
    stream = io.StringIO()
    console = plain_console(stream, width=60)
    console.print(text)
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    console.print(table)
    assert stream.getvalue().count(text) == 4


@pytest.mark.parametrize("room", ["cli", "orchestration"])
def test_there_is_no_other_console(room: str) -> None:
    makes_one = re.compile(r"\bConsole\(|\[/")
    found = [
        path.name for path in (ROOT / room).rglob("*.py") if makes_one.search(path.read_text())
    ]
    assert found == (["console.py"] if room == "orchestration" else [])
