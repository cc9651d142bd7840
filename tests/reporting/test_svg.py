"""How matplotlib's figures become part of a page."""

import re
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure

from reporting.svg import INK, LINE, SERIES, STYLE, svg_of


@pytest.fixture
def figure() -> Iterator[Figure]:
    with rc_context(STYLE):
        figure = Figure(figsize=(2, 1))
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], "o-", color=SERIES[1], label="Bags < 50 $ & #040404")
        axes.legend()
        yield figure


def attributes(svg: str, name: str) -> list[str]:
    return [value for each in ElementTree.fromstring(svg).iter() if (value := each.get(name))]


def test_colours_are_the_pages_variables(figure: Figure) -> None:
    styles = " ".join(attributes(svg_of(figure, "plot"), "style"))
    assert all(color not in styles for color in (INK, LINE, *SERIES))
    assert {"currentColor", "var(--line)", "var(--series-2)"} <= set(re.findall(r"[^ ;]+", styles))


def test_text_keeps_its_words_and_takes_the_pages_font(figure: Figure) -> None:
    svg = svg_of(figure, "plot")
    texts = [text.strip() for text in ElementTree.fromstring(svg).itertext()]
    assert "Bags < 50 $ & #040404" in texts
    assert "font-size: 11px" in svg
    assert "DejaVu" not in svg


def test_ids_are_unique_in_a_page_and_references_follow(figure: Figure) -> None:
    one, other = svg_of(figure, "one"), svg_of(figure, "other")
    assert not set(attributes(one, "id")) & set(attributes(other, "id"))
    references = re.findall(r'(?:href="|url\()#([^")]+)', one)
    assert references
    assert set(references) <= set(attributes(one, "id"))


def test_the_size_is_the_pages_to_decide(figure: Figure) -> None:
    root = ElementTree.fromstring(svg_of(figure, "plot"))
    assert root.get("viewBox")
    assert {"width", "height"}.isdisjoint(root.attrib)
    assert root.get("aria-hidden") == "true"
