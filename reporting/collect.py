"""Collects a run's page from its result, its metadata and its artifacts."""

import logging
from collections.abc import Callable
from typing import TypeVar

from tfx.proto.orchestration import pipeline_pb2

from reporting.evidence import Evidence
from reporting.graph import picture
from reporting.page import Page
from reporting.sections.answers import read_answers
from reporting.sections.checks import read_checks
from reporting.sections.data import read_data
from reporting.sections.infra_validation import read_infra_validation
from reporting.sections.lineage import read_lineage, read_spans
from reporting.sections.push import read_push
from reporting.sections.quality import read_quality
from reporting.sections.training import read_training
from runs.executions import class_labels

logger = logging.getLogger(__name__)

_Section = TypeVar("_Section")


def collect(page: Page, ir: pipeline_pb2.Pipeline, evidence: Evidence) -> None:
    """Fills in all sections that the run reached.

    A section whose artifacts are gone or unreadable is left out, and a note on the page says so.

    Args:
        page: has the run's result.
        ir: the pipeline it ran.
        evidence: what it left in the metadata.
    """

    def section(name: str, read: Callable[[], _Section]) -> _Section | None:
        try:
            return read()
        except Exception as error:
            logger.info("the report is without %s: %s", name, error)
            page.notes.append(f"This page is without {name} ({type(error).__name__}: {error}).")
            return None

    labels = class_labels(ir)
    page.nodes = picture(page.result.nodes, _upstream(ir, evidence))
    page.data = section("the data", lambda: read_data(evidence, labels))
    page.checks = section("the checks of the data", lambda: read_checks(evidence))
    page.training = section("the training", lambda: read_training(evidence, page.result.tuned))
    page.quality = section("the metrics", lambda: read_quality(evidence, labels))
    page.answers = section("the model's answers", lambda: read_answers(evidence, labels))
    page.infra_validation = section("infra validation", lambda: read_infra_validation(evidence))
    page.push = section("the push", lambda: read_push(evidence))
    page.spans = section("the spans", lambda: read_spans(evidence)) or []
    page.lineage = section("the lineage", lambda: read_lineage(evidence)) or []


def _upstream(ir: pipeline_pb2.Pipeline, evidence: Evidence) -> dict[str, set[str]]:
    nodes = [node.pipeline_node for node in ir.nodes]
    upstream = {node.node_info.id: set(node.upstream_nodes) for node in nodes}
    # The run may have had nodes that the pipeline compiled now does not have, such as Tuner.
    for node_id, sources in evidence.sources().items():
        upstream.setdefault(node_id, set()).update(sources)
    return upstream
