"""Names of folders and files, as every system can have and print them."""

import pytest

from data.folders import folder_name, is_left_behind, safe_name, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("caf\u00e9", "caf\u00e9"),
        ("caf\udce9: damaged", "caf\\xe9: damaged"),
        ("\ud800 alone", "\\ud800 alone"),
    ],
)
def test_whatever_is_shown_can_be_printed(text: str, expected: str) -> None:
    assert shown(text) == expected


@pytest.mark.parametrize("label", ["T-shirt/top", "a\x7fb", "a\u2028b", "a\x85b", "C\\D", "犬"])
def test_the_folder_of_a_class_is_one_that_every_system_can_have(label: str) -> None:
    labels = ("first", label)
    name = folder_name(1, labels)
    assert name == safe_name(label)
    assert name.isprintable()
    assert not {*"/\\"} & {*name}


@pytest.mark.parametrize("label", [".net", "lost+found", "Thumbs.db", "~$x", "x" * 201])
def test_a_class_whose_folder_would_be_passed_over_has_one_called_by_its_number(label: str) -> None:
    assert safe_name(label) == ""
    assert folder_name(1, ("first", label)) == "1"
    assert not is_left_behind("1")
