"""What is remembered about a version: a small JSON file beside the model, never served."""

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from files.memory import sha256_of


class RollbackNote(BaseModel):
    """Why a version was taken back, when, and which version served after it (None: none did)."""

    at: datetime
    reason: str
    to_version: int | None = None


class Pushed(BaseModel):
    """What a pusher knows about the model it publishes; becomes the larger part of the record.

    Attributes:
        run_id: the pipeline run that made the model.
        execution: identifies the push across retries of the same execution. Empty: no retries.
        code_revision: revision of the source code, as the version control system names it.
        fingerprint: digest of all that the run's result depends on.
        spans: the data spans the model was trained on.
        new_spans: those of them that no version before it was trained on.
        span_digests: SHA-256 of what each of them held; one that is not here may hold anything.
        metrics: the Evaluator's numbers, as `evaluation_results.read_metrics` gives them.
        model_server: the server that loaded the model and answered in infra validation.
        labels: the classes that the model knows, in the order of their ids; empty: it does not say.
    """

    run_id: str = ""
    execution: str = ""
    code_revision: str = ""
    fingerprint: str = ""
    spans: list[int] = Field(default_factory=list)
    new_spans: list[int] = Field(default_factory=list)
    span_digests: dict[int, str] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)
    model_server: str = ""
    labels: list[str] = Field(default_factory=list)


class VersionRecord(Pushed):
    """The record of one version, kept at `<base>/.versions/<version>.json` even after pruning.

    Attributes:
        version: the number of the version's directory.
        pushed_at: when it was pushed, UTC.
        checksums: SHA-256 of every file of the model by its path relative to the version.
        rolled_back: set when the version was taken back.
        pruned_at: when retention removed the version's directory.
    """

    version: int
    pushed_at: datetime
    checksums: dict[str, str]
    rolled_back: RollbackNote | None = None
    pruned_at: datetime | None = None


def checksums_of(directory: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file under a directory by its relative POSIX path."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): sha256_of(path) for path in files}
