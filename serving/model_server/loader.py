"""The loader: makes a servable of a version on disk, warmed up and ready to answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.model_server.batching import BatchingOptions, BatchingRunner, BatchScheduler
from serving.model_server.config import read_text_proto
from serving.model_server.config_protos import BatchingParameters
from serving.model_server.errors import (
    Code,
    ServingError,
    VersionRefusedError,
    as_serving_error,
)
from serving.model_server.metrics import Metrics
from serving.model_server.saved_model import LoadedModel, load_saved_model
from serving.model_server.servable import RequestLog, Runner, Servable, SessionRunner
from serving.model_server.warmup import run_warmup

if TYPE_CHECKING:
    from serving.versions.signature import Verifier

_logger = logging.getLogger(__name__)

PER_MODEL_BATCHING_FILE = "batching_params.pbtxt"


@dataclass(frozen=True)
class LoaderOptions:
    """What the command line says of loading, by TensorFlow Serving's names.

    `session_config` is a ConfigProto. `batching` is None without --enable_batching, `verifier`
    without --require_signature.
    """

    session_config: Any
    saved_model_tags: Sequence[str] = ("serve",)
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 1
    enable_signature_method_name_check: bool = False
    batching: BatchingOptions | None = None
    enable_per_model_batching_parameters: bool = False
    verifier: Verifier | None = None


class SavedModelLoader:
    """Loads SavedModels as servables; `batch_scheduler` is needed if the options ask to batch."""

    def __init__(
        self,
        options: LoaderOptions,
        metrics: Metrics,
        batch_scheduler: BatchScheduler | None = None,
        request_log: RequestLog | None = None,
    ) -> None:
        self._options = options
        self._metrics = metrics
        self._batch_scheduler = batch_scheduler
        self._request_log = request_log

    def load(self, name: str, version: int, path: Path) -> Servable:
        """Raises ServingError if the version cannot be loaded or its warmup fails."""
        started = time.monotonic()
        loaded = self._load_session(version, path)
        try:
            servable = self._warmed_up(name, version, loaded, path)
        except ServingError:
            loaded.session.close()
            raise
        except BaseException as error:
            loaded.session.close()
            raise as_serving_error(error) from error
        servable.request_log = self._request_log
        took = time.monotonic() - started
        _logger.info("model %s version %d loaded from %s in %.2f s", name, version, path, took)
        return servable

    def _warmed_up(self, name: str, version: int, loaded: LoadedModel, path: Path) -> Servable:
        options = self._options
        servable = Servable(
            name,
            version,
            loaded.signatures,
            self._runner(loaded, path),
            self._metrics,
            options.enable_signature_method_name_check,
        )
        if options.enable_model_warmup:
            run_warmup(servable, path, options.num_request_iterations_for_warmup, self._metrics)
        return servable

    def _load_session(self, version: int, path: Path) -> LoadedModel:
        started = time.monotonic()
        status = "fail"
        try:
            _verify(self._options.verifier, version, path)
            loaded = load_saved_model(
                path, self._options.saved_model_tags, self._options.session_config
            )
            status = "success"
        finally:
            micros = round((time.monotonic() - started) * 1e6)
            self._metrics.load_attempts.add(str(path), status)
            self._metrics.load_latency.add(str(path), by=micros)
        stages = self._metrics.load_latency_by_stage
        stages.observe(str(path), "init_graph", value=loaded.init_graph_micros)
        stages.observe(str(path), "restore_graph", value=loaded.restore_graph_micros)
        return loaded

    def _runner(self, loaded: LoadedModel, path: Path) -> Runner:
        threads = self._options.session_config.inter_op_parallelism_threads
        direct = SessionRunner(loaded.session, loaded.is_bounded, in_callers_thread=threads <= 0)
        options = self._options.batching
        if options is None or self._batch_scheduler is None:
            return direct
        if self._options.enable_per_model_batching_parameters:
            file = path / PER_MODEL_BATCHING_FILE
            if not file.exists():
                return direct
            try:
                options = BatchingOptions.from_proto(read_text_proto(file, BatchingParameters()))
            except ServingError as error:
                raise ServingError(Code.INVALID_ARGUMENT, f"{file}: {error.message}") from error
        return BatchingRunner(direct, self._batch_scheduler, options)


def _verify(verifier: Verifier | None, version: int, path: Path) -> None:
    """Raises ServingError if signatures are required and the version is not what was signed."""
    if verifier is None:
        return
    from serving.versions.signature import SignatureError

    try:
        verifier.verify(path, version)
    except SignatureError as error:
        raise VersionRefusedError(Code.FAILED_PRECONDITION, f"{path} is refused: {error}") from None
    except OSError as error:
        raise ServingError(Code.UNKNOWN, f"{error.filename}: {error.strerror}") from error
