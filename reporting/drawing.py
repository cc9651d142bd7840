"""The picture of the pipeline: a card for each node, lines between them, and the same in words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from reporting.formats import duration
from reporting.page import PicturedNode
from runs.exit_status import NodeState

_SIGNS = {
    NodeState.DONE: "✓",
    NodeState.CACHED: "↺",
    NodeState.FAILED: "✕",
    NodeState.SKIPPED: "·",
    NodeState.PENDING: "·",
    NodeState.RUNNING: "…",
}
# So that the cards' outlines are not cut off.
_MARGIN = 2

Point = tuple[float, float]


@dataclass(frozen=True)
class Card:
    """A node: its upper left corner, its name in lines, and how it ended."""

    state: NodeState
    x: float
    y: float
    name: list[str]
    ending: str


@dataclass(frozen=True)
class Drawing:
    """The picture as SVG needs it, in its own units.

    Attributes:
        css_class: says for which screens it is.
        card_width: of every card.
        card_height: of every card.
        lines: in the language of a path's `d`.
    """

    css_class: str
    width: float
    height: float
    card_width: int
    card_height: int
    cards: list[Card]
    lines: list[str]


@dataclass(frozen=True)
class _Layout:
    """Measures of a drawing: `length`, `gap` and `step` go along the pipeline, `lane` across it."""

    css_class: str
    is_upright: bool
    card_width: int
    card_height: int
    gap: int
    lane: int
    letters: int

    @property
    def length(self) -> int:
        return self.card_height if self.is_upright else self.card_width

    @property
    def breadth(self) -> int:
        return self.card_width if self.is_upright else self.card_height

    @property
    def step(self) -> int:
        return self.length + self.gap

    def point(self, along: float, across: float) -> Point:
        return (across, along) if self.is_upright else (along, across)

    def line(self, before: Point, after: Point) -> str:
        """Returns the path from one card to another whose corners are given, along and across."""
        start, end = before[0] + self.length, after[0]
        start_across, end_across = before[1] + self.breadth / 2, after[1] + self.breadth / 2
        bend = end - self.gap / 2
        places = [
            (start, start_across),
            (bend, start_across),
            (bend, end_across),
            (end, end_across),
        ]
        first, *rest = ["{} {}".format(*self.point(*place)) for place in places]
        return f"M{first} C{' '.join(rest)}"


_LYING = _Layout("lying", False, card_width=106, card_height=76, gap=13, lane=90, letters=11)
_UPRIGHT = _Layout("upright", True, card_width=172, card_height=60, gap=16, lane=182, letters=20)


def drawings(nodes: Sequence[PicturedNode]) -> list[Drawing]:
    """Draws the pipeline from left to right, and for narrow screens from top to bottom."""
    return [_draw(nodes, layout) for layout in (_LYING, _UPRIGHT)]


def summary(nodes: Sequence[PicturedNode]) -> str:
    """Says in a sentence how many nodes were run, and what became of the others."""
    ids: dict[NodeState, list[str]] = {state: [] for state in NodeState}
    for node in nodes:
        ids[node.state].append(node.id)
    parts = [f"{len(ids[NodeState.DONE])} of {len(nodes)} nodes were run"]
    if cached := ids[NodeState.CACHED]:
        parts.append(f"{len(cached)} came from the cache")
    if failed := ids[NodeState.FAILED]:
        parts.append(f"{', '.join(failed)} failed")
    if skipped := ids[NodeState.SKIPPED]:
        parts.append(f"{len(skipped)} {'was' if len(skipped) == 1 else 'were'} not reached")
    return f"{', '.join(parts)}."


def in_words(nodes: Sequence[PicturedNode]) -> str:
    """Says what the picture shows, for readers who do not see it."""
    return " ".join(map(_sentence, nodes))


def _sentence(node: PicturedNode) -> str:
    took = f", {duration(node.seconds)}" if _was_run(node) else ""
    after = f", after {' and '.join(node.upstream)}" if node.upstream else ""
    return f"{node.id}: {node.state}{took}{after}."


def _draw(nodes: Sequence[PicturedNode], layout: _Layout) -> Drawing:
    first, last = min(node.row for node in nodes), max(node.row for node in nodes)
    columns = max(node.column for node in nodes) + 1
    corners = {
        node.id: (node.column * layout.step + _MARGIN, (node.row - first) * layout.lane + _MARGIN)
        for node in nodes
    }
    width, height = layout.point(
        columns * layout.step - layout.gap + 2 * _MARGIN,
        (last - first) * layout.lane + layout.breadth + 2 * _MARGIN,
    )
    return Drawing(
        css_class=layout.css_class,
        width=width,
        height=height,
        card_width=layout.card_width,
        card_height=layout.card_height,
        cards=[_card(node, *layout.point(*corners[node.id]), layout.letters) for node in nodes],
        lines=[
            layout.line(corners[before], corners[node.id])
            for node in nodes
            for before in node.upstream
        ],
    )


def _card(node: PicturedNode, x: float, y: float, letters: int) -> Card:
    took = f" {duration(node.seconds)}" if _was_run(node) else ""
    ending = f"{_SIGNS[node.state]} {node.state}{took}"
    return Card(node.state, x, y, _broken(node.id, letters), ending)


def _was_run(node: PicturedNode) -> bool:
    return node.state in (NodeState.DONE, NodeState.FAILED)


def _broken(name: str, letters: int) -> list[str]:
    """Breaks a name that is too long for a line between its words."""
    lines = [""]
    for word in re.findall("[A-Z]?[^A-Z]+|[A-Z]+", name):
        if lines[-1] and len(lines[-1]) + len(word) > letters:
            lines.append("")
        lines[-1] += word
    return lines
