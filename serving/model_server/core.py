"""The server's core: the models being served, and what gRPC and REST ask of them.

It joins source, manager and labels as `tensorflow_serving/model_servers/server_core.cc` does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.machine import usable_cpus
from serving.model_server import deadline
from serving.model_server.config import (
    check_model_config,
    check_request_logs,
    monitored_models,
)
from serving.model_server.errors import Code, ServingError, invalid_argument
from serving.model_server.manager import Loader, Manager, ManagerOptions, Outcome, ServableHandle
from serving.model_server.metrics import Metrics
from serving.model_server.request_log import SampledRequestLog
from serving.model_server.source import FileSystemSource, MonitoredModel, aspired_versions
from serving.model_server.state_monitor import State, StateMonitor, VersionStatus

_logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
# How long a reload waits for a new model of which no version has appeared at all.
_PATIENCE_WITHOUT_VERSIONS_SECONDS = 10.0


@dataclass(frozen=True)
class CoreOptions:
    """How the core behaves; the names are those of TensorFlow Serving's flags."""

    manager: ManagerOptions = field(default_factory=ManagerOptions)
    file_system_poll_wait_seconds: int = 1
    allow_version_labels_for_unavailable_models: bool = False
    request_log_root: Path | None = None


class ServerCore:
    """Serves the models of one ModelServerConfig. Thread-safe."""

    def __init__(
        self,
        loader: Loader,
        options: CoreOptions,
        metrics: Metrics,
        request_log: SampledRequestLog | None = None,
        stopping: threading.Event | None = None,
    ) -> None:
        """`stopping`, when set, makes a start-up that still waits for models return early."""
        self.metrics = metrics
        self._options = options
        self._request_log = request_log
        self._monitor = StateMonitor()
        self._manager = Manager(loader, self._monitor, options.manager)
        self._source = FileSystemSource(
            self._manager.set_aspired_versions, options.file_system_poll_wait_seconds
        )
        self._config_lock = threading.Lock()
        self._config: Any | None = None
        self._labels: Mapping[str, Mapping[str, int]] | None = None
        self._stopping = stopping or threading.Event()
        self._models: dict[str, MonitoredModel] = {}
        self._is_started = False

    def start(self, config: Any) -> None:
        """Serves a ModelServerConfig; returns when each model has an available version.

        Waits for base paths and versions that are not there yet, as TensorFlow Serving does; not at
        all if versions are never looked for. Raises ServingError if the config is illegal or a
        model did not become available.
        """
        with self._manager.loading_in_parallel(4 * usable_cpus()):
            added = self._take_over(config, lambda models: None, is_trusted=True)
            if self._source.polls:
                self._await(added, "servable", lambda name: True)

    def stop(self) -> None:
        """Stops polling and loading. Loaded versions stay usable for requests in flight."""
        self._stopping.set()
        self._source.stop()
        self._manager.stop()

    def reload_config(self, new: Any, is_from_file: bool = False) -> None:
        """Replaces the served models by those of a ModelServerConfig; waits for new ones.

        One `is_from_file`, the operator's own, is not waited for, and may say where requests are
        logged to. Raises ServingError if the config is refused (the old one stays: it is illegal,
        labels a version that is not available, or a new base path cannot be read), or if a new
        model did not become available. No other caller is held up meanwhile.
        """
        added = self._take_over(new, self._check_new_base_paths, is_from_file)
        if not is_from_file and self._source.polls:
            patience = time.monotonic() + _PATIENCE_WITHOUT_VERSIONS_SECONDS
            self._await(added, "model", lambda name: self._may_come(name, patience))

    def _take_over(
        self, new: Any, check: Callable[[list[MonitoredModel]], None], is_trusted: bool
    ) -> set[str]:
        """Makes a config the current one, or raises ServingError and changes nothing.

        Returns the names of its new models.
        """
        kind = new.WhichOneof("config")
        if kind is None:
            _logger.info("the model config is empty: nothing to do")
            return set()
        if kind != "model_config_list":
            raise invalid_argument("ModelServer does not support custom model config.")
        with self._config_lock:
            check_model_config(new, self._config)
            models = list(monitored_models(new))
            check(models)
            labels = self._checked_labels(new)
            root = self._options.request_log_root
            if root or not is_trusted:
                check_request_logs(new, root, self._config)
            if self._request_log:
                self._request_log.update(new)
            self._source.update(models)
            before, self._models = self._models, {model.name: model for model in models}
            self.metrics.know_models(self._models)
            is_same, self._config, self._labels = self._config == new, new, labels
            if not self._is_started:
                self._manager.start()
                self._source.start()
                self._is_started = True
        if not is_same:
            _logger.info("serving models: %s", ", ".join(sorted(self._models)) or "none")
        return self._models.keys() - before.keys()

    def _check_new_base_paths(self, models: list[MonitoredModel]) -> None:
        for model in models:
            known = self._models.get(model.name)
            if known is None or known.base_path != model.base_path:
                aspired_versions(model)

    def is_serving(self) -> bool:
        """Whether any version of any model is available."""
        return self._monitor.is_any_available()

    def wait_for_change(self, seconds: float) -> None:
        """Returns when the state of a version changes, or after `seconds`."""
        self._monitor.wait_for_change(seconds)

    def servable(
        self, name: str, version: int | None = None, label: str | None = None
    ) -> ServableHandle:
        """The version to answer a request with: a context manager that keeps it loaded.

        Raises ServingError: NOT_FOUND if it is not available, INVALID_ARGUMENT for an unknown
        label or an empty name.
        """
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        if label is not None:
            version = self.labelled_version(name, label)
        return self._manager.handle(name, version)

    def labelled_version(self, name: str, label: str) -> int:
        """The version that `label` stands for. ServingError (INVALID_ARGUMENT) if none."""
        if self._labels is None:
            raise ServingError(Code.UNAVAILABLE, f"Model labels does not init yet.{label}")
        version = self._labels.get(name, {}).get(label)
        if version is None:
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return version

    def model_status(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """Status of a version, or of all ever seen (newest first).

        Raises ServingError (NOT_FOUND) if there is none.
        """
        if version is None:
            versions = self._monitor.versions(name)
            if not versions:
                raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
            return versions
        status = self._monitor.version(name, version)
        if status is None:
            raise ServingError(Code.NOT_FOUND, f"Could not find version {version} of model {name}")
        return [status]

    def _await(self, names: set[str], what: str, may_come: Callable[[str], bool]) -> None:
        """Waits until each model has a version that is available or has ended.

        Raises ServingError if one ended, if `may_come` gives a model up, or at the caller's
        deadline. Returns early if the server is stopped.
        """
        while not self._stopping.is_set():
            outcomes = {name: self._manager.outcome(name) for name in names}
            missing = {name for name, outcome in outcomes.items() if outcome is None}
            lost = {name for name in missing if not may_come(name)}
            if missing == lost:
                self._refuse_unavailable(outcomes, what)
                return
            deadline.check()
            self._monitor.wait_for_change(_POLL_SECONDS)

    def _may_come(self, name: str, patience: float) -> bool:
        """Whether a new model of a reload may still become available.

        Not if a later config took it out again, or no version of it has appeared for too long.
        """
        if name not in self._models:
            return False
        is_coming = any(
            status.state in (State.START, State.LOADING) for status in self._monitor.versions(name)
        )
        return is_coming or time.monotonic() < patience

    def _refuse_unavailable(self, outcomes: Mapping[str, Outcome | None], what: str) -> None:
        """Raises ServingError if a model ended in an error, or has no version, in its words."""
        causes = []
        for name, outcome in outcomes.items():
            if outcome is None:
                reason = "NOT_FOUND: no version has appeared, or a later config took it out"
                causes.append(f"{{{{name: {name}}} due to error: {reason}}}, ")
            elif outcome.error:
                reason = f"{outcome.error.code.name}: {outcome.error.message}"
                version = f"{{name: {name} version: {outcome.version}}}"
                causes.append(f"{{{version} due to error: {reason}}}, ")
        if causes:
            raise ServingError(
                Code.UNKNOWN,
                f"{len(causes)} {what}(s) did not become available: {{{''.join(causes)}}}",
            )

    def _checked_labels(self, config: Any) -> Mapping[str, Mapping[str, int]]:
        labels: dict[str, dict[str, int]] = {}
        for model in config.model_config_list.config:
            for label, version in sorted(model.version_labels.items()):
                status = self._monitor.version(model.name, version)
                is_available = status is not None and status.state is State.AVAILABLE
                if not is_available and not self._may_point_nowhere(model.name, label, version):
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {model.name}, "
                        "which is not currently available for inference",
                    )
                labels.setdefault(model.name, {})[label] = version
        return labels

    def _may_point_nowhere(self, name: str, label: str, version: int) -> bool:
        """Only a label that is new, or stays where it is, may name an unavailable version."""
        if not self._options.allow_version_labels_for_unavailable_models:
            return False
        return (self._labels or {}).get(name, {}).get(label, version) == version
