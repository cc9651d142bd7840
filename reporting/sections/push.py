"""Reads what Pusher did with the model."""

from components.pusher.executor import DESTINATION_PROPERTY, STATUS_PROPERTY, VERSION_PROPERTY
from reporting.evidence import Evidence
from reporting.page import Push
from serving.versions.record import VersionRecord
from serving.versions.store import VersionStore


def read_push(evidence: Evidence) -> Push | None:
    """Returns what Pusher did; None: it was not run."""
    artifact = evidence.output("Pusher", "pushed_model")
    if artifact is None:
        return None
    number = int(artifact.properties.get(VERSION_PROPERTY) or 0) or None
    push = Push(
        verdict=artifact.properties[STATUS_PROPERTY],
        version=number,
        directory=artifact.properties.get(DESTINATION_PROPERTY) or None,
    )
    base = evidence.property("Pusher", "destination")
    version = VersionStore(base).get(number) if base and number else None
    if version is not None and version.record is not None:
        push.pushed_at = version.record.pushed_at
        push.checksums = version.record.checksums
        push.record = _record(version.record)
    return push


def _record(record: VersionRecord) -> dict[str, str]:
    entries = {
        "run": record.run_id,
        "code revision": record.code_revision,
        "spans": ", ".join(map(str, record.spans)),
        "validated by": record.model_server,
        "fingerprint": record.fingerprint,
    }
    if record.rolled_back:
        entries["rolled back"] = record.rolled_back.reason
    return {name: value for name, value in entries.items() if value}
