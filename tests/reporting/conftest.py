"""The shared smoke run, with what its metadata holds and the page that is collected of it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from orchestration.compiler import compile_pipeline
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from reporting.collect import collect
from reporting.evidence import Evidence
from reporting.page import Page
from runs.executions import open_metadata
from tests.conftest import SmokeRun


@dataclass(frozen=True)
class Reported:
    """A run, its evidence and its page."""

    run: SmokeRun
    config: Config
    evidence: Evidence
    page: Page

    def folder(self, node_id: str, channel: str):
        artifact = self.evidence.output(node_id, channel)
        assert artifact is not None
        return artifact.path


@pytest.fixture(scope="session")
def reported(smoke_run: SmokeRun) -> Iterator[Reported]:
    config = load_config("smoke", workdir=smoke_run.workdir)
    ir = compile_pipeline(config)
    with open_metadata(ir) as handle:
        evidence = Evidence(handle.store, smoke_run.result.run_id)
        page = Page(result=smoke_run.result)
        collect(page, ir, evidence)
        yield Reported(smoke_run, config, evidence, page)


@pytest.fixture
def page(reported: Reported) -> Page:
    """A copy that the test may change."""
    return reported.page.model_copy(deep=True)
