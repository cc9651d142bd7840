"""The execution parameters of IdxExampleGen, as the driver and the executor read them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data import layout
from data.spans import Choice, choose
from files.memory import FileMemory
from serving.versions.record import VersionRecord
from serving.versions.store import VersionStore

# TFX knows no execution property that is None.
ALL_SPANS = 0
NO_LAST_SPAN = 0


def choose_spans(
    root: Path,
    window: int,
    served: VersionRecord | None,
    last_span: int | None = None,
    memory: FileMemory | None = None,
) -> Choice:
    """Chooses the spans of a run; what the served version was trained on counts as trusted.

    A span that holds other images than it was trained on with is new.

    Args:
        root: the data root.
        window: how many of the newest spans, 0: all.
        served: the record of the served version; None: every span is new.
        last_span: the newest span that may be read; None: any.
        memory: knows the files that did not change; None: each is read.
    """
    if served is None:
        return choose(root, window, last_span)
    choice = choose(root, window, last_span, trusted=served.spans, judged=served.new_spans)
    found = layout.resolve(root, choice.spans)
    known = served.span_digests
    changed = {
        span
        for span in choice.spans
        if span in known and found.digest(layout.origin_of(span), memory) != known[span]
    }
    return Choice(choice.spans, tuple(sorted(changed.union(choice.new))))


def resolve(exec_properties: Mapping[str, Any]) -> layout.Layout:
    """Finds the files that these execution properties ask for.

    Spans that the run, or the driver, wrote under ``spans`` are taken as they are; otherwise they
    are chosen now.
    """
    root = Path(exec_properties["input_base"])
    if exec_properties.get("spans"):
        spans, new = json.loads(exec_properties["spans"])
    else:
        serving_dir = exec_properties["serving_dir"]
        served = VersionStore(serving_dir).newest_served() if serving_dir else None
        choice = choose_spans(
            root,
            exec_properties["window"],
            served.record if served else None,
            exec_properties["last_span"] or None,
        )
        spans, new = choice.spans, choice.new
    return layout.resolve(root, spans, new, include_base=bool(exec_properties["include_base"]))


def as_property(spans: Choice) -> str:
    """Returns chosen spans as the execution property ``spans``."""
    return json.dumps([spans.spans, spans.new])
