"""The execution parameters of IdxExampleGen, as the driver and the executor read them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data import layout
from data.spans import usable_spans

# TFX knows no execution property that is None.
ALL_SPANS = 0
NO_LAST_SPAN = 0


def resolve(exec_properties: Mapping[str, Any]) -> layout.Layout:
    """Finds the files that these execution properties ask for.

    Spans that the driver wrote under ``spans`` are taken as they are; otherwise the window is
    worked out from the spans that are there now and not quarantined.
    """
    root = Path(exec_properties["input_base"])
    if "spans" in exec_properties:
        spans = json.loads(exec_properties["spans"])
    else:
        spans = usable_spans(
            root, exec_properties["window"] or None, exec_properties["last_span"] or None
        )
    return layout.resolve(root, spans)
