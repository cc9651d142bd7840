"""Where the nodes of a pipeline go in its picture: in columns from left to right."""

from collections.abc import Mapping, Sequence

from reporting.page import PicturedNode
from runs.result import NodeResult


def picture(nodes: Sequence[NodeResult], upstream: Mapping[str, set[str]]) -> list[PicturedNode]:
    """Places every node as far to the right as what waits for it allows.

    Args:
        nodes: in an order in which they can run.
        upstream: the nodes that each one waits for.
    """
    order = [node.id for node in nodes]
    direct = _without_detours(order, upstream)
    columns = _columns(order, direct)
    rows: dict[str, float] = {}
    for column in sorted(set(columns.values())):
        members = [node_id for node_id in order if columns[node_id] == column]
        # A node beside those it waits for makes for lines that do not cross.
        members.sort(key=lambda node_id: _mean([rows[each] for each in direct[node_id]]))
        for place, node_id in enumerate(members):
            rows[node_id] = place - (len(members) - 1) / 2
    return [
        PicturedNode(
            id=node.id,
            state=node.state,
            seconds=node.seconds,
            column=columns[node.id],
            row=rows[node.id],
            upstream=sorted(direct[node.id]),
        )
        for node in nodes
    ]


def _without_detours(order: Sequence[str], upstream: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Leaves out every edge that a longer way makes superfluous (the transitive reduction)."""
    ancestors: dict[str, set[str]] = {}
    direct: dict[str, set[str]] = {}
    for node_id in order:
        waits_for = upstream.get(node_id, set()) & ancestors.keys()
        beyond = set[str]().union(*(ancestors[each] for each in waits_for))
        ancestors[node_id] = waits_for | beyond
        direct[node_id] = waits_for - beyond
    return direct


def _columns(order: Sequence[str], direct: Mapping[str, set[str]]) -> dict[str, int]:
    earliest: dict[str, int] = {}
    for node_id in order:
        earliest[node_id] = max((earliest[each] + 1 for each in direct[node_id]), default=0)
    columns: dict[str, int] = {}
    for node_id in reversed(order):
        followers = [columns[each] for each in columns if node_id in direct[each]]
        columns[node_id] = min(followers) - 1 if followers else earliest[node_id]
    return columns


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
