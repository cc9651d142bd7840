"""The lines of a file."""

import pytest

from files.lines import lines_of


@pytest.mark.parametrize(
    ("text", "lines"), [("", []), ("\n", [""]), ("a", ["a"]), ("a\n\nb\n", ["a", "", "b"])]
)
def test_a_newline_ends_one(text: str, lines: list[str]) -> None:
    assert lines_of(text) == lines


@pytest.mark.parametrize("end", "\v\f\x1c\x1d\x1e\x85\u2028\u2029")
def test_nothing_else_ends_one(end: str) -> None:
    assert lines_of(f"a{end}b\nc") == [f"a{end}b", "c"]
