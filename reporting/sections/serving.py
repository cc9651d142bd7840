"""Reads what infra validation measured, what was pushed, and where it came from."""

import json

from components.infra_validator.blessing import Blessing, Measurements, read_blessing
from components.pusher.executor import DESTINATION_PROPERTY, STATUS_PROPERTY, VERSION_PROPERTY
from reporting.evidence import Evidence
from reporting.page import InfraValidation, LineageStep, Push, SignatureLatency
from serving.versions.record import VersionRecord
from serving.versions.store import VersionStore

_LIMIT_UNITS = {
    "max_load_seconds": "{} s to load",
    "max_latency_ms": "{} ms, 99th percentile",
    "max_median_latency_ms": "{} ms, median",
    "max_memory_megabytes": "{} MB of memory",
    "max_model_megabytes": "{} MB on disk",
}


def read_infra_validation(evidence: Evidence) -> InfraValidation | None:
    """Returns the model server's verdict; None: no server was started."""
    artifact = evidence.output("InfraValidator", "blessing")
    blessing = read_blessing(artifact.uri) if artifact else None
    if blessing is None or not blessing.validated:
        return None
    spec = json.loads(evidence.property("InfraValidator", "validation_spec") or "{}")
    return InfraValidation(
        blessed=blessing.blessed,
        server=blessing.model_server,
        server_choice=blessing.server_choice,
        measured=_measured(blessing.measurements),
        limits=[
            text.format(f"{limit:g}")
            for name, text in _LIMIT_UNITS.items()
            if (limit := spec.get("limits", {}).get(name)) is not None
        ],
        latency=latencies(blessing),
        server_log=blessing.server_log,
    )


def latencies(blessing: Blessing) -> list[SignatureLatency]:
    """Returns the measured latencies, by signature."""
    return [
        SignatureLatency(signature=signature, p50_ms=latency.p50_ms, p99_ms=latency.p99_ms)
        for signature, latency in blessing.measurements.latency.items()
    ]


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


def _measured(found: Measurements) -> dict[str, str]:
    measured = {
        "started and loaded in": (found.start_seconds, "{:.1f} s"),
        "warmed model reloaded in": (found.reload_seconds, "{:.1f} s"),
        "memory": (found.memory_megabytes, "{:.0f} MB"),
        "model on disk": (found.model_megabytes, "{:.2f} MB"),
        "requests answered": (found.requests, "{:d}"),
        "warmup records": (found.warmup_records, "{:d}"),
    }
    return {name: text.format(value) for name, (value, text) in measured.items() if value}


def _record(record: VersionRecord) -> dict[str, str]:
    entries = {
        "run": record.run_id,
        "code revision": record.code_revision,
        "spans": ", ".join(map(str, record.spans)),
        "tried by": record.model_server,
        "fingerprint": record.fingerprint,
    }
    if record.rolled_back:
        entries["rolled back"] = record.rolled_back.reason
    return {name: value for name, value in entries.items() if value}
