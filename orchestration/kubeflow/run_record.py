"""Keeps a run's result and the quarantine on the volume, as its steps go by.

Kubeflow's own metadata is out of reach of `runs.rebuild`, so each step adds what it did to
`<workdir>/runs/<run id>.json` itself. What no step knows (the log, the preset, the fingerprint) is
left empty. The step that decides the run also writes its page, with what the result has.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel
from tfx.types import Artifact
from tfx.types.standard_component_specs import EXAMPLES_KEY

from components.idx_example_gen.output import new_spans, read_spans
from data.refusal import DataRefused
from files import lock
from reporting.write import attach_report
from runs import verdict
from runs.blame import settle_blame
from runs.exit_status import NodeState, Status
from runs.result import NodeResult, RunResult

logger = logging.getLogger(__name__)


class Step(BaseModel):
    """What a step of the compiled pipeline knows about the run that it is part of.

    Attributes:
        node_id: its node.
        node_ids: all nodes, in an order in which they can run.
        workdir: the workdir in the containers.
        data_root: the folder with `base/` and `spans/` in them.
        serving_base: the model's base path.
        labels: names of the classes, in the order of their ids.
        basis: fingerprint of settings, code and schema, as `pipeline.fingerprint.basis_of`.
    """

    node_id: str
    node_ids: list[str]
    workdir: Path
    data_root: Path
    serving_base: str
    labels: tuple[str, ...]
    basis: str


class StepRecorder:
    """Records how one step of one run ends."""

    def __init__(self, step: Step, run_id: str) -> None:
        """Begins to measure its time.

        Args:
            step: which one.
            run_id: Kubeflow's id of the run.
        """
        self._step = step
        self._run_id = run_id
        self._started = time.monotonic()

    def done(self, outputs: Mapping[str, Sequence[Artifact]]) -> None:
        """Adds what the step's outputs say about the run."""

        def change(result: RunResult, node: NodeResult) -> None:
            if node.state is NodeState.FAILED:
                # A retry that succeeds; what ended the run before was this step's failure.
                result.finished_at, result.reasons, result.blamed_spans = None, [], []
            node.state = NodeState.DONE
            if examples := list(outputs.get(EXAMPLES_KEY, [])):
                result.spans, result.new_spans = read_spans(examples), new_spans(examples)
            if result.finished_at is None:
                verdict.record(self._step.node_id, outputs, result, self._step.labels)

        self._change(change)

    def failed(self, error: Exception) -> None:
        """Ends the run with what the step's executor raised, unless a refusal has ended it."""
        status, reasons = Status.FAILED, [f"{type(error).__name__}: {error}"]
        blamed: list[int] = []
        if isinstance(error, DataRefused):
            status, reasons, blamed = Status.DATA_REFUSED, error.reasons, error.blamed_spans

        def change(result: RunResult, node: NodeResult) -> None:
            node.state = NodeState.FAILED
            # With `push.fail_when_refused`, Pusher raises what an earlier step has already judged.
            if result.finished_at is None or not result.status.is_refusal:
                result.finish(status, reasons)
                result.blamed_spans = blamed

        self._change(change)

    def _change(self, change: Callable[[RunResult, NodeResult], None]) -> None:
        # What a step has done is done, with a record or without.
        try:
            with self._result() as result:
                node = result.node(self._step.node_id)
                change(result, node)
                node.seconds = round(time.monotonic() - self._started, 1)
                if result.finished_at:
                    settle_blame(self._step.data_root, self._step.workdir / "runs", result)
                    attach_report(result, self._step.workdir, self._step.serving_base)
        except OSError as error:
            logger.warning("the run's record cannot be kept: %s", error)

    @contextmanager
    def _result(self) -> Iterator[RunResult]:
        folder = self._step.workdir / "runs"
        with lock.exclusive(self._step.workdir, "record", wait=True):
            result = self._recorded(folder / f"{self._run_id}.json")
            yield result
            result.write(folder)

    def _recorded(self, path: Path) -> RunResult:
        try:
            return RunResult.model_validate_json(path.read_text())
        except FileNotFoundError:
            pass
        except ValueError as error:
            logger.warning("%s is begun anew, because it cannot be read: %s", path, error)
        return RunResult(
            run_id=self._run_id,
            started_at=datetime.now(UTC),
            basis=self._step.basis,
            nodes=[NodeResult(id=node_id) for node_id in self._step.node_ids],
        )


def run_id_of(invocation: Mapping[str, Any], node_id: str) -> str:
    """Returns Kubeflow's id of the run, which is in the URI of every output before the task's name.

    Args:
        invocation: the step's ExecutorInput.
        node_id: the task's name.

    Raises:
        ValueError: when no output has such a URI.
    """
    for entry in invocation["outputs"]["artifacts"].values():
        for artifact in entry["artifacts"]:
            parts = PurePosixPath(artifact["uri"]).parts
            if node_id in parts[1:]:
                return parts[parts.index(node_id) - 1]
    raise ValueError(f"no output of {node_id} has a URI with the run and the task in it")
