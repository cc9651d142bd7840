"""The execution parameters of IdxExampleGen, as the driver and the executor read them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.idx_example_gen import layout

# TFX knows no execution property that is None.
ALL_SPANS = 0
NO_LAST_SPAN = 0


def resolve(exec_properties: Mapping[str, Any]) -> layout.Layout:
    """Finds the files that these execution properties ask for.

    Spans that the driver wrote under ``spans`` are taken as they are; otherwise the window is
    worked out from the spans that are there now and not quarantined.
    """
    input_base = Path(exec_properties["input_base"])
    span_pattern = exec_properties["span_pattern"]
    if "spans" in exec_properties:
        spans = json.loads(exec_properties["spans"])
    else:
        spans = layout.window(
            layout.list_spans(input_base, span_pattern),
            exec_properties["window"] or None,
            layout.read_quarantine(input_base),
            exec_properties["last_span"] or None,
        )
    return layout.resolve(input_base, spans, exec_properties["official_pattern"], span_pattern)
