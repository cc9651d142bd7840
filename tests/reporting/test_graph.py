"""Where nodes go in the picture of the pipeline, and which lines are drawn."""

from reporting.graph import picture
from reporting.page import PicturedNode
from runs.result import NodeResult


def pictured(upstream: dict[str, set[str]]) -> dict[str, PicturedNode]:
    return {node.id: node for node in picture([NodeResult(id=each) for each in upstream], upstream)}


def test_a_line_that_a_longer_way_makes_superfluous_is_not_drawn() -> None:
    nodes = pictured({"Gen": set(), "Train": {"Gen"}, "Push": {"Gen", "Train"}})
    assert nodes["Push"].upstream == ["Train"]
    assert [node.column for node in nodes.values()] == [0, 1, 2]


def test_a_node_stands_right_before_what_waits_for_it() -> None:
    nodes = pictured(
        {"Gen": set(), "Served": set(), "Statistics": {"Gen"}, "Drift": {"Statistics", "Served"}}
    )
    assert nodes["Served"].column == nodes["Statistics"].column == 1
    assert {nodes["Served"].row, nodes["Statistics"].row} == {-0.5, 0.5}
    assert nodes["Drift"].row == 0


def test_a_node_that_is_not_in_the_run_is_not_waited_for() -> None:
    nodes = pictured({"Trainer": {"Transform"}})
    assert (nodes["Trainer"].upstream, nodes["Trainer"].column) == ([], 0)
