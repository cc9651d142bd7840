"""The server's core: the models being served, and what gRPC and REST ask of them.

It joins source, manager and labels as `tensorflow_serving/model_servers/server_core.cc` does.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.model_server.config import check_model_config, monitored_models
from serving.model_server.errors import Code, ServingError, invalid_argument
from serving.model_server.manager import Loader, Manager, ManagerOptions, ServableHandle
from serving.model_server.metrics import Metrics
from serving.model_server.request_log import SampledRequestLog
from serving.model_server.source import FileSystemSource
from serving.model_server.state_monitor import State, StateMonitor, VersionStatus

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CoreOptions:
    """How the core behaves; the names are those of TensorFlow Serving's flags."""

    manager: ManagerOptions = field(default_factory=ManagerOptions)
    file_system_poll_wait_seconds: int = 1
    allow_version_labels_for_unavailable_models: bool = False


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
        self._model_names: set[str] = set()
        self._is_started = False

    def start(self, config: Any) -> None:
        """Serves a ModelServerConfig; returns when each model has an available version.

        Raises ServingError if the config is illegal or a model did not become available.
        """
        with self._manager.loading_in_parallel(4 * (os.cpu_count() or 1)):
            self.reload_config(config)

    def stop(self) -> None:
        """Stops polling and loading. Loaded versions stay usable for requests in flight."""
        self._stopping.set()
        self._source.stop()
        self._manager.stop()

    def reload_config(self, new: Any) -> None:
        """Replaces the served models by those of a ModelServerConfig; waits for new ones.

        Raises ServingError if the config is illegal, labels a version that is not available, or a
        new model did not become available.
        """
        with self._config_lock:
            kind = new.WhichOneof("config")
            if kind is None:
                _logger.info("the model config is empty: nothing to do")
                return
            if kind != "model_config_list":
                raise invalid_argument("ModelServer does not support custom model config.")
            check_model_config(new, self._config)
            models = list(monitored_models(new))
            is_same = self._config == new
            self._config = new
            self._labels = self._checked_labels(new)
            since = self._monitor.now()
            before, self._model_names = self._model_names, {model.name for model in models}
            self._source.update(models)
            is_first, self._is_started = not self._is_started, True
            if is_first:
                self._manager.start()
                self._source.start()
            self._await(self._model_names - before, since, is_first)
            if self._request_log:
                self._request_log.update(new)
            if not is_same:
                names = ", ".join(sorted(self._model_names)) or "none"
                _logger.info("serving models: %s", names)

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

    def _await(self, names: set[str], since: int, is_first: bool) -> None:
        reached = self._monitor.wait_until_available(names, since, self._stopping)
        failed = {name: item for name, item in reached.items() if item.state is State.END}
        if not failed:
            return
        what = "servable" if is_first else "model"
        causes = "".join(
            f"{{{{name: {name} version: {item.version}}}"
            + (f" due to error: {item.code.name}: {item.message}" if item.code else "")
            + "}, "
            for name, item in failed.items()
        )
        raise ServingError(
            Code.UNKNOWN, f"{len(failed)} {what}(s) did not become available: {{{causes}}}"
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
