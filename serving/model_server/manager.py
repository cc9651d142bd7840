"""The manager: loads and unloads versions so that the aspired ones are served.

It follows `tensorflow_serving/core/aspired_versions_manager.cc`: one thread takes one action at a
time (in pools of their own if load or unload threads are asked for), a version in use is unloaded
only when its last request has been answered.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol

from serving.model_server.errors import Code, ServingError, VersionRefusedError, in_one_line
from serving.model_server.servable import Servable
from serving.model_server.source import AspiredVersions
from serving.model_server.state_monitor import State, StateMonitor
from serving.model_server.version_policy import (
    Action,
    AspiredVersionPolicy,
    HarnessState,
    Snapshot,
)

_logger = logging.getLogger(__name__)

_STOP_SECONDS = 5.0


class Loader(Protocol):
    """Makes servables of versions on disk."""

    def load(self, name: str, version: int, path: Path) -> Servable:
        """Raises ServingError if the version cannot be loaded or its warmup fails."""


@dataclass(frozen=True)
class ManagerOptions:
    """How loading goes about; the names are those of TensorFlow Serving's flags."""

    policy: AspiredVersionPolicy = AspiredVersionPolicy.AVAILABILITY_PRESERVING
    num_load_threads: int = 0
    num_unload_threads: int = 0
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000


@dataclass(eq=False)
class _Harness:
    """One managed version. `users` counts the requests that hold its servable."""

    name: str
    version: int
    path: Path
    is_aspired: bool = True
    state: HarnessState = HarnessState.NEW
    servable: Servable | None = None
    users: int = 0
    retry_cancelled: threading.Event = field(default_factory=threading.Event)


class ServableHandle:
    """Keeps a version loaded while in use: `with manager.handle(...) as servable`."""

    __slots__ = ("_harness", "_manager")

    def __init__(self, manager: Manager, harness: _Harness) -> None:
        self._manager = manager
        self._harness = harness

    def __enter__(self) -> Servable:
        servable = self._harness.servable
        assert servable is not None
        return servable

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._manager._release(self._harness)


class Manager:
    """Owns all loaded versions. Thread-safe."""

    def __init__(self, loader: Loader, monitor: StateMonitor, options: ManagerOptions) -> None:
        self._loader = loader
        self._monitor = monitor
        self._options = options
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._unused = threading.Condition(self._lock)
        self._managed: dict[str, dict[int, _Harness]] = {}
        self._serving: dict[tuple[str, int | None], _Harness] = {}
        self._pending: dict[str, AspiredVersions] = {}
        self._stopping = False
        self._load_pool = _pool(options.num_load_threads, "load")
        self._unload_pool = _pool(options.num_unload_threads, "unload")
        self._thread = threading.Thread(target=self._run, name="manager", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stops managing: no version changes any more. What is loaded stays usable.

        A load under way cannot be interrupted; it is given a moment, then left to itself.
        """
        with self._lock:
            self._stopping = True
            for harness in self._harnesses():
                harness.retry_cancelled.set()
            self._wake.notify_all()
            self._unused.notify_all()
        for pool in (self._load_pool, self._unload_pool):
            if pool:
                pool.shutdown(wait=False, cancel_futures=True)
        if self._thread.ident is not None:
            self._thread.join(_STOP_SECONDS)

    @contextmanager
    def loading_in_parallel(self, num_threads: int) -> Iterator[None]:
        """Loads in a pool of `num_threads` meanwhile, as TensorFlow Serving does at start-up."""
        initial = ThreadPoolExecutor(num_threads, "initial-load")
        with self._lock:
            lasting, self._load_pool = self._load_pool, initial
        try:
            yield
        finally:
            with self._lock:
                self._load_pool = lasting
            initial.shutdown(wait=False)

    def set_aspired_versions(self, name: str, versions: AspiredVersions) -> None:
        """Replaces what is wanted of a model. A version no longer wanted is not retried."""
        with self._lock:
            self._pending[name] = versions
            for version, harness in self._managed.get(name, {}).items():
                if version not in versions:
                    harness.retry_cancelled.set()
            self._wake.notify_all()

    def handle(self, name: str, version: int | None) -> ServableHandle:
        """The given version of a model, or the newest available one if `version` is None.

        Raises ServingError (NOT_FOUND) if it is not available.
        """
        with self._lock:
            harness = self._serving.get((name, version))
            if harness is not None:
                harness.users += 1
                return ServableHandle(self, harness)
        request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {request}")

    def _release(self, harness: _Harness) -> None:
        with self._lock:
            harness.users -= 1
            if not harness.users and harness.state is HarnessState.UNLOADING:
                self._unused.notify_all()

    def _harnesses(self) -> list[_Harness]:
        return [harness for versions in self._managed.values() for harness in versions.values()]

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._stopping:
                    return
                self._forget_finished()
                self._take_pending()
                step = self._next_step()
                if step is None:
                    self._wake.wait()
                    continue
                action, harness = step
                loading = action is Action.LOAD
                harness.state = HarnessState.LOADING if loading else HarnessState.UNLOADING
                perform: Callable[[_Harness], None] = self._load if loading else self._unload
                pool = self._load_pool if loading else self._unload_pool
                if pool:
                    pool.submit(perform, harness)
            if not pool:
                perform(harness)

    def _forget_finished(self) -> None:
        finished = (HarnessState.NEW, HarnessState.DISABLED, HarnessState.ERROR)
        for name, versions in list(self._managed.items()):
            for version, harness in list(versions.items()):
                if not harness.is_aspired and harness.state in finished:
                    del versions[version]
            if not versions:
                del self._managed[name]

    def _take_pending(self) -> None:
        for name, wanted in list(self._pending.items()):
            managed = self._managed.setdefault(name, {})
            # A version that is on its way out comes back only when it is out.
            if any(not managed[version].is_aspired for version in wanted if version in managed):
                continue
            del self._pending[name]
            for version, harness in managed.items():
                harness.is_aspired = version in wanted
            for version, path in wanted.items():
                if version not in managed:
                    managed[version] = _Harness(name, version, path)
                    self._monitor.publish(name, version, State.START)

    def _next_step(self) -> tuple[Action, _Harness] | None:
        steps = []
        for versions in self._managed.values():
            snapshots = [
                Snapshot(version, harness.state, harness.is_aspired)
                for version, harness in sorted(versions.items())
            ]
            action = self._options.policy.next_action(snapshots)
            if action:
                steps.append((action[0], versions[action[1]]))
        steps.sort(key=lambda step: step[0] is Action.LOAD)
        return steps[0] if steps else None

    def _load(self, harness: _Harness) -> None:
        name, version = harness.name, harness.version
        self._monitor.publish(name, version, State.LOADING)
        error: ServingError | None = None
        try:
            servable = self._load_with_retries(harness)
        except ServingError as failure:
            error = failure
            _logger.error(
                "model %s version %d failed to load: %s", name, version, in_one_line(failure)
            )
        with self._lock:
            if error:
                harness.state = HarnessState.ERROR
            else:
                harness.servable = servable
                harness.state = HarnessState.READY
                self._update_serving(name)
            self._wake.notify_all()
        self._monitor.publish(name, version, State.END if error else State.AVAILABLE, error)

    def _load_with_retries(self, harness: _Harness) -> Servable:
        attempts = self._options.max_num_load_retries + 1
        for attempt in range(1, attempts + 1):
            try:
                return self._loader.load(harness.name, harness.version, harness.path)
            except ServingError as error:
                is_final = attempt == attempts or isinstance(error, VersionRefusedError)
                if is_final or harness.retry_cancelled.is_set():
                    raise
                wait = max(self._options.load_retry_interval_micros, 0) / 1e6
                _logger.warning(
                    "model %s version %d: attempt %d of %d to load failed, next in %g s: %s",
                    harness.name,
                    harness.version,
                    attempt,
                    attempts,
                    wait,
                    in_one_line(error),
                )
                if harness.retry_cancelled.wait(wait):
                    raise
        raise AssertionError("unreachable")

    def _unload(self, harness: _Harness) -> None:
        name, version = harness.name, harness.version
        self._monitor.publish(name, version, State.UNLOADING)
        with self._lock:
            self._update_serving(name)
            while harness.users and not self._stopping:
                self._unused.wait()
            if self._stopping:
                return
        servable, harness.servable = harness.servable, None
        assert servable is not None
        servable.close()
        with self._lock:
            harness.state = HarnessState.DISABLED
            self._wake.notify_all()
        _logger.info("model %s version %d unloaded", name, version)
        self._monitor.publish(name, version, State.END)

    def _update_serving(self, name: str) -> None:
        """Rebuilds what requests for a model find; a plain swap, so readers never see a gap."""
        ready = {
            version: harness
            for version, harness in sorted(self._managed.get(name, {}).items())
            if harness.state is HarnessState.READY
        }
        serving = {key: value for key, value in self._serving.items() if key[0] != name}
        serving.update({(name, version): harness for version, harness in ready.items()})
        if ready:
            serving[name, None] = ready[max(ready)]
        self._serving = serving


def _pool(num_threads: int, name: str) -> ThreadPoolExecutor | None:
    return ThreadPoolExecutor(num_threads, name) if num_threads > 0 else None
