"""Reads which spans the run read, which artifacts it made or used, and what each came from."""

from pydantic import TypeAdapter

from reporting.evidence import Evidence
from reporting.page import LineageStep, ReadSpan

# IdxExampleGen's custom property of its examples: a JSON list of {span, images, sha256}.
_SPANS_DETAIL = "spans_detail"


def read_spans(evidence: Evidence) -> list[ReadSpan]:
    """Returns the spans that the run read; nothing when its examples do not name them."""
    examples = evidence.output("IdxExampleGen", "examples")
    detail = examples.properties.get(_SPANS_DETAIL) if examples else None
    return TypeAdapter(list[ReadSpan]).validate_json(detail) if detail else []


def read_lineage(evidence: Evidence) -> list[LineageStep]:
    """Returns every artifact of the run with what it was made from."""
    artifacts = evidence.artifacts()
    origins = evidence.origins(artifacts)
    return [
        LineageStep(
            artifact=artifact.id,
            type=artifact.type,
            node=origins[artifact.id].node_id,
            run_id=origins[artifact.id].run_id,
            made_from=origins[artifact.id].made_from,
            uri=artifact.uri,
        )
        for artifact in artifacts
        if artifact.id in origins
    ]
