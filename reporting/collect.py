"""Collects a run's page from its result, its metadata and its artifacts."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tfx.proto.orchestration import pipeline_pb2

from data import spans
from pipeline.result import Status
from reporting.data_sections import read_checks, read_data
from reporting.evidence import Evidence
from reporting.page import Page
from reporting.picture import picture
from reporting.quality_sections import read_answers, read_quality, read_training
from reporting.serving_sections import read_infra_validation, read_lineage, read_push

logger = logging.getLogger(__name__)

_Section = TypeVar("_Section")


def collect(page: Page, ir: pipeline_pb2.Pipeline, evidence: Evidence) -> None:
    """Fills in all sections that the run came to.

    A section whose artifacts are gone or unreadable is left out, with a note on the page.

    Args:
        page: has the run's result.
        ir: the pipeline it ran.
        evidence: what it left in the metadata.
    """

    def section(name: str, read: Callable[[Evidence], _Section]) -> _Section | None:
        try:
            return read(evidence)
        except Exception as error:
            logger.info("the report is without %s: %s", name, error)
            page.notes.append(f"This page is without {name} ({type(error).__name__}: {error}).")
            return None

    page.nodes = picture(page.result.nodes, _upstream(ir))
    page.data = section("the data", read_data)
    page.checks = section("the checks of the data", read_checks)
    page.training = section("the training", read_training)
    page.quality = section("the metrics", read_quality)
    page.answers = section("the model's answers", read_answers)
    page.infra_validation = section("infra validation", read_infra_validation)
    page.push = section("the push", read_push)
    page.lineage = section("the lineage", read_lineage) or []
    if page.result.status is Status.DATA_REFUSED:
        page.quarantined = section("the quarantine", _quarantined) or {}


def _upstream(ir: pipeline_pb2.Pipeline) -> dict[str, set[str]]:
    nodes = [node.pipeline_node for node in ir.nodes]
    return {node.node_info.id: set(node.upstream_nodes) for node in nodes}


def _quarantined(evidence: Evidence) -> dict[int, str]:
    data_root = evidence.property("IdxExampleGen", "input_base")
    if not data_root:
        return {}
    return {span: entry.reason for span, entry in spans.quarantined(Path(data_root)).items()}
