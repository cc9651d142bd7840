"""The picture of the pipeline, and what it shows in words."""

import re

import pytest

from reporting.drawing import Drawing, drawings, in_words, summary
from reporting.graph import picture
from reporting.page import PicturedNode
from runs.exit_status import NodeState
from runs.result import NodeResult

UPSTREAM = {"ExampleGen": set(), "Served": set(), "Train": {"ExampleGen"}, "Push": {"Train"}}
STATES = (NodeState.DONE, NodeState.CACHED, NodeState.FAILED, NodeState.SKIPPED)


@pytest.fixture
def nodes() -> list[PicturedNode]:
    results = [
        NodeResult(id=node_id, state=state, seconds=75)
        for node_id, state in zip(UPSTREAM, STATES, strict=True)
    ]
    return picture(results, UPSTREAM)


def test_the_summary_counts_every_node_once(nodes: list[PicturedNode]) -> None:
    assert summary(nodes) == (
        "1 of 4 nodes were run, 1 came from the cache, Train failed, 1 was not reached."
    )
    assert summary(nodes[:1]) == "1 of 1 nodes were run."


def test_the_words_say_what_the_picture_shows(nodes: list[PicturedNode]) -> None:
    assert in_words(nodes) == (
        "ExampleGen: done, 1 min 15 s. Served: cached. "
        "Train: failed, 1 min 15 s, after ExampleGen. Push: skipped, after Train."
    )


def test_cards_lie_inside_the_drawing_and_apart(nodes: list[PicturedNode]) -> None:
    for drawing in drawings(nodes):
        boxes = [(card.x, card.y) for card in drawing.cards]
        for x, y in boxes:
            assert 0 <= x <= drawing.width - drawing.card_width
            assert 0 <= y <= drawing.height - drawing.card_height
        for place, (x, y) in enumerate(boxes):
            for other_x, other_y in boxes[:place]:
                apart = abs(x - other_x) >= drawing.card_width
                assert apart or abs(y - other_y) >= drawing.card_height


@pytest.mark.parametrize(("place", "css_class"), [(0, "lying"), (1, "upright")])
def test_lines_join_the_edges_of_cards(
    nodes: list[PicturedNode], place: int, css_class: str
) -> None:
    drawing: Drawing = drawings(nodes)[place]
    assert drawing.css_class == css_class
    train, push = drawing.cards[2], drawing.cards[3]
    x1, y1, *_, x2, y2 = map(float, re.findall(r"[\d.]+", drawing.lines[-1]))
    half_width, half_height = drawing.card_width / 2, drawing.card_height / 2
    if css_class == "lying":
        expected = (train.x + 2 * half_width, train.y + half_height, push.x, push.y + half_height)
    else:
        expected = (train.x + half_width, train.y + 2 * half_height, push.x + half_width, push.y)
    assert (x1, y1, x2, y2) == expected


def test_a_long_name_is_broken_between_its_words() -> None:
    (node,) = picture([NodeResult(id="SpanDistributionValidator")], {})
    lying, upright = drawings([node])
    assert lying.cards[0].name == ["Span", "Distribution", "Validator"]
    assert upright.cards[0].name == ["SpanDistribution", "Validator"]
