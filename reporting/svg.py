"""Matplotlib's figures as SVG that takes its colours and its font from the page around it."""

import io
import re
from typing import Any
from xml.etree import ElementTree

from matplotlib.figure import Figure

# Matplotlib does not know the variables of CSS: it draws in these colours, which are replaced.
INK = "#010101"
LINE = "#020202"
SERIES = ("#040404", "#050505", "#060606", "#070707")
_VARIABLES = {
    INK: "currentColor",
    LINE: "var(--line)",
    **{color: f"var(--series-{number})" for number, color in enumerate(SERIES, 1)},
}

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    # A dollar sign in the name of a class does not begin a formula.
    "text.parse_math": False,
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.7,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "lines.linewidth": 2,
    "lines.markersize": 5,
}

_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))

ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")


def svg_of(figure: Figure, name: str) -> str:
    """Returns a figure as an `svg` element for a page that says in words what it shows.

    Args:
        figure: drawn within `matplotlib.rc_context(STYLE)`, in the colours of this module.
        name: makes the ids inside unique in the page.
    """
    written = io.StringIO()
    figure.savefig(written, format="svg", transparent=True, metadata=_NO_METADATA)
    root = ElementTree.fromstring(written.getvalue())
    # The page's style gives it the width of its column.
    del root.attrib["width"], root.attrib["height"]
    root.set("aria-hidden", "true")
    for element in root.iter():
        for key, value in element.items():
            element.set(key, _on_page(key, value, name))
    return ElementTree.tostring(root, encoding="unicode")


def _on_page(key: str, value: str, name: str) -> str:
    match key.rpartition("}")[2]:
        case "id":
            return f"{name}-{value}"
        case "href" | "clip-path":
            return value.replace("#", f"#{name}-")
        case "style":
            fontless = re.sub("font-family: [^;]*;? ?", "", value)
            return re.sub("#0[0-9]{5}", lambda color: _VARIABLES.get(color[0], color[0]), fontless)
    return value
