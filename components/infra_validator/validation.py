"""One validation, from a SavedModel and examples to a verdict; knows nothing of TFX.

The candidate is served as version 1. Every signature is asked over both protocols, one example at
a time and in batches, and must answer as the SavedModel does in this process. The same requests
become warmup records, and the warmed model is swapped in as version 2, as a push would do it.
"""

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.infra_validator.blessing import Blessing, Measurements
from components.infra_validator.client import ServingClient
from components.infra_validator.loading import wait_for_start, wait_for_version
from components.infra_validator.model_refused import MissedOnceError, ModelRefusedError
from components.infra_validator.probe import Probe
from components.infra_validator.saved_model import InProcessModel, read_signatures
from components.infra_validator.spec import ValidationSpec
from components.infra_validator.termination import sigterm_raises
from components.infra_validator.warmup_requests import write_warmup
from serving.launch.base import ModelServer
from serving.launch.ownership import work_folder
from serving.launch.selection import choose_server
from serving.versions.record import checksums_of

logger = logging.getLogger(__name__)

# How long a model may take to load when no limit is set.
_LOAD_SECONDS = 300.0
_REQUEST_SECONDS = 30.0
# What is measured is measured so often before it refuses a model.
_ATTEMPTS = 3


def validate(model: Path, examples: list[bytes], spec: ValidationSpec, stamped: Path) -> Blessing:
    """Tries a model on a model server, which has ended when this returns or raises.

    Args:
        model: the SavedModel.
        examples: serialized tf.Examples that requests are built from.
        spec: what to do.
        stamped: where the warmed model is written; absent afterwards unless it is blessed.

    Raises:
        ServerMissingError: the model server that was asked for is not there.
        ValueError: no requests can be built from the examples.
    """
    folder = spec.work_dir or Path(tempfile.gettempdir())
    choice = choose_server(spec.model_server, spec.docker_image, folder)
    server = choice.server
    logger.info("model server: %s (%s)", server.description, choice.why)
    blessing = Blessing(
        blessed=False,
        model_server=choice.kind,
        server_choice=f"{server.description} ({choice.why})",
    )
    trial = _Trial(model, examples, spec, server, blessing.measurements)
    try:
        with sigterm_raises():
            for attempt in range(1, _ATTEMPTS + 1):
                refusal = _attempt(trial, spec.work_dir, stamped, blessing)
                if not isinstance(refusal, MissedOnceError):
                    break
                logger.warning("attempt %d of %d: %s", attempt, _ATTEMPTS, refusal)
    finally:
        if not blessing.blessed:
            shutil.rmtree(stamped, ignore_errors=True)
    return blessing


def _attempt(
    trial: "_Trial", work_dir: Path | None, stamped: Path, blessing: Blessing
) -> ModelRefusedError | None:
    """Makes one attempt, with a server and a folder of its own; returns why it was refused."""
    blessing.measurements.attempts += 1
    shutil.rmtree(stamped, ignore_errors=True)
    with work_folder(work_dir) as folder:
        try:
            trial.run(folder, stamped)
            blessing.checksums = checksums_of(stamped)
            blessing.blessed = True
            blessing.reasons, blessing.server_log = [], []
            return None
        except ModelRefusedError as refusal:
            kind = f"{blessing.model_server} model server"
            blessing.reasons = [f"{kind}: {why}" for why in refusal.reasons]
            blessing.server_log = trial.server.log_tail()
            return refusal
        finally:
            trial.server.stop()


class _Trial:
    """The steps of a validation; each raises ModelRefusedError when the model fails it."""

    def __init__(
        self,
        model: Path,
        examples: list[bytes],
        spec: ValidationSpec,
        server: ModelServer,
        measured: Measurements,
    ) -> None:
        self._model = model
        self._examples = examples
        self._spec = spec
        self.server = server
        self._measured = measured

    def run(self, folder: Path, stamped: Path) -> None:
        """Takes all steps in order, and writes the warmed model."""
        base = folder / self._spec.model_name
        with self._timed("signatures"):
            signatures = read_signatures(self._model, self._spec)
            self._check_size()
            shutil.copytree(self._model, base / "1")
        self._start(base)
        with self._timed("loading in this process"):
            # Not sooner: what kills a server at load must not kill this process.
            reference = InProcessModel(self._model)
            probe = Probe(self._spec, signatures, reference, self._examples)
        with self._client() as client:
            with self._timed("requests"):
                probe.ask_all(client)
            with self._timed("recorded requests"):
                self._measured.recorded_requests = probe.ask_recorded(client)
            with self._timed("latency"):
                self._check_latency(probe, client)
            with self._timed("memory"):
                self._check_memory()
            with self._timed("warmup records"):
                self._write_warmed(probe, stamped, base / "warmed")
            self._reload(base)
            with self._timed("requests after reload"):
                probe.ask_once(client)
        self._measured.requests = probe.requests_answered

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._measured.own_seconds[step] = round(time.monotonic() - began, 3)

    def _start(self, base: Path) -> None:
        limit = self._spec.limits.max_load_seconds or _LOAD_SECONDS
        started = time.monotonic()
        self.server.start(base, self._spec.model_name)
        seconds = wait_for_start(self.server, base, self._spec.model_name, started, limit)
        self._measured.start_seconds = round(seconds, 3)

    def _client(self) -> ServingClient:
        return ServingClient(self.server.grpc_address, self.server.rest_url, _REQUEST_SECONDS)

    def _check_size(self) -> None:
        size = sum(path.stat().st_size for path in self._model.rglob("*") if path.is_file()) / 1e6
        self._measured.model_megabytes = round(size, 3)
        limit = self._spec.limits.max_model_megabytes
        if limit is not None and size > limit:
            raise ModelRefusedError(
                f"The model size on disk is {size:.1f} MB, the limit is {limit:g} MB."
            )

    def _check_latency(self, probe: Probe, client: ServingClient) -> None:
        self._measured.latency = probe.time_requests(client)
        limits = self._spec.limits
        for name, latency in self._measured.latency.items():
            _check(f"p99 latency of {name}", latency.p99_ms, limits.max_latency_ms, "ms")
            _check(f"p50 latency of {name}", latency.p50_ms, limits.max_median_latency_ms, "ms")

    def _check_memory(self) -> None:
        memory = self.server.memory_megabytes()
        self._measured.memory_megabytes = round(memory, 1)
        _check("server's resident memory", memory, self._spec.limits.max_memory_megabytes, "MB")

    def _write_warmed(self, probe: Probe, stamped: Path, copy: Path) -> None:
        shutil.copytree(self._model, stamped, dirs_exist_ok=True)
        self._measured.warmup_records = write_warmup(stamped, probe.warmup_requests())
        shutil.copytree(stamped, copy)

    def _reload(self, base: Path) -> None:
        """Swaps the warmed model in, as a push would do it."""
        limit = self._spec.limits.max_load_seconds or _LOAD_SECONDS
        began = time.monotonic()
        (base / "warmed").rename(base / "2")
        seconds = wait_for_version(self.server, self._spec.model_name, 2, began, limit)
        self._measured.reload_seconds = round(seconds, 3)


def _check(what: str, value: float, limit: float | None, unit: str) -> None:
    if limit is not None and value > limit:
        raise MissedOnceError(f"The {what} is {value:.1f} {unit}, the limit is {limit:g} {unit}.")
