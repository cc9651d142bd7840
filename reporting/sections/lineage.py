"""Reads which artifacts the run made or used, and what each was made from."""

from reporting.evidence import Evidence
from reporting.page import LineageStep


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
