"""Reads what infra validation measured."""

import json

from components.infra_validator.blessing import Blessing, Measurements, read_blessing
from reporting.evidence import Evidence
from reporting.page import InfraValidation, SignatureLatency

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


def _measured(found: Measurements) -> dict[str, str]:
    measured = {
        "started and loaded in": (found.start_seconds, "{:.1f} s"),
        "warmed model reloaded in": (found.reload_seconds, "{:.1f} s"),
        "memory": (found.memory_megabytes, "{:.0f} MB"),
        "model on disk": (found.model_megabytes, "{:.2f} MB"),
        "requests answered": (found.requests, "{:d}"),
        "of these, recorded ones": (found.recorded_requests, "{:d}"),
        "warmup records": (found.warmup_records, "{:d}"),
    }
    return {name: text.format(value) for name, (value, text) in measured.items() if value}
