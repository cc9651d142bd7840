"""RunResult: what one run did, kept as `var/runs/<run id>.json` and printed by `--json`."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from data.folders import shown
from files.kept import read_kept
from files.whole import write_whole
from runs.exit_status import NodeState, Status
from serving.versions.journal import who


class NodeResult(BaseModel):
    """One node of one run."""

    id: str
    state: NodeState = NodeState.PENDING
    seconds: float = 0.0


class ClassQuality(BaseModel):
    """How well one class is recognised; a class is predicted where it is the most probable one.

    The precision of a class that is never predicted is 0.
    """

    precision: float = 0.0
    recall: float
    auc: float


class Override(BaseModel):
    """What a person decided against the record.

    Attributes:
        action: the option or verb, as it is typed.
        who: the user and the machine.
        when: the time, UTC.
        why: the reason that was given, if one was.
    """

    action: str
    who: str = Field(default_factory=who)
    when: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    why: Annotated[str, AfterValidator(shown)] = ""


class RunResult(BaseModel):
    """What a run did, written after every node.

    Attributes:
        run_id: the run's name, in the metadata and of its file.
        fingerprint: of everything the run depends on; an identical run has the same one.
        status: how it ended; `failed` until it ends otherwise.
        version: the version pushed, or the one found up to date.
        baseline_version: the version that was being served when the run began.
        accuracy: overall, of this run's model, by Evaluator.
        calibration_error: how far the scores are from the share of right answers, by Evaluator.
        classes: per label of a class that has evaluated images, by Evaluator.
        churn: share of the evaluated images whose label changes against the served model.
        live_churn: the same of recorded pictures of production.
        reasons: why the run was refused or failed, a sentence each.
        spans: that it read, chosen before anything else.
        new_spans: those of them that the served version was not trained on.
        blamed_spans: against which there is evidence, and which were quarantined for it.
        basis: fingerprint of settings, code and schema, as `pipeline.fingerprint.basis_of`.
        overrides: what a person had done differently from what the record says.
        tuned: the best hyperparameters that Tuner found; empty for a run without it.
        search_fingerprint: with Tuner, that of an identical search; `fingerprint` is then that of
            an identical run with the hyperparameters found.
        nodes: in the order they run.
        model_server: which server infra validation used.
        report: the run's page, if one was written.
        log: the file with the output of TensorFlow, Beam and TFX.
    """

    run_id: str
    started_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    preset: str = ""
    fingerprint: str = ""
    status: Status = Status.FAILED
    version: int | None = None
    baseline_version: int | None = None
    accuracy: float | None = None
    calibration_error: float | None = None
    classes: dict[str, ClassQuality] = Field(default_factory=dict)
    churn: float | None = None
    live_churn: float | None = None
    reasons: list[str] = Field(default_factory=list)
    spans: list[int] = Field(default_factory=list)
    new_spans: list[int] = Field(default_factory=list)
    blamed_spans: list[int] = Field(default_factory=list)
    basis: str = ""
    overrides: list[Override] = Field(default_factory=list)
    tuned: dict[str, Any] = Field(default_factory=dict)
    search_fingerprint: str | None = None
    nodes: list[NodeResult] = Field(default_factory=list)
    model_server: str | None = None
    report: Path | None = None
    log: Path | None = None

    def node(self, node_id: str) -> NodeResult:
        """Returns the entry of one node; raises KeyError when the run has no such node."""
        for node in self.nodes:
            if node.id == node_id:
                return node
        raise KeyError(node_id)

    def finish(self, status: Status, reasons: list[str] | None = None) -> None:
        """Records the end of the run."""
        self.status = status
        self.finished_at = datetime.now(UTC)
        if reasons is not None:
            # A name of a file may be of bytes that no JSON takes.
            self.reasons = list(map(shown, reasons))
        for node in self.nodes:
            if node.state in (NodeState.PENDING, NodeState.RUNNING):
                node.state = NodeState.SKIPPED

    def write(self, runs_dir: Path) -> Path:
        """Writes the result under its run id; a reader sees the old file or the new one."""
        path = runs_dir / f"{self.run_id}.json"
        write_whole(path, self.model_dump_json(indent=2) + "\n")
        return path


def results(runs_dir: Path) -> Iterator[RunResult]:
    """Yields the results of a workdir, newest first; a damaged file is passed over."""
    for path in sorted(runs_dir.glob("*.json"), reverse=True):
        if (result := read_kept(path, RunResult.model_validate_json)) is not None:
            yield result
