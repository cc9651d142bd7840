"""The manager: loads and unloads versions so that the aspired ones are served.

It follows `tensorflow_serving/core/aspired_versions_manager.cc`: one thread takes one action at a
time (in pools of their own if load or unload threads are asked for), a version in use is unloaded
only when its last request has been answered. Two things are added: that wait holds up no other
version, and one that failed for a reason that may pass (`errors.may_pass`) is tried again after a
while, in ever longer pauses.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from serving.model_server.errors import (
    Code,
    ServingError,
    VersionRefusedError,
    as_serving_error,
    in_one_line,
    may_pass,
)
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
# After this, a version that still has requests to answer is worth a line.
_LONG_UNLOAD_SECONDS = 30.0
# Before the next turn after one that went wrong, so that a lasting fault does not take a whole CPU.
_PAUSE_AFTER_FAULT_SECONDS = 0.2


class Loader(Protocol):
    """Makes servables of versions on disk."""

    def load(self, name: str, version: int, path: Path) -> Servable:
        """Raises ServingError if the version cannot be loaded or its warmup fails."""


@dataclass(frozen=True)
class ManagerOptions:
    """How loading goes about; the names are those of TensorFlow Serving's flags.

    A version that failed for a reason that may pass is tried again after `recovery_pause_seconds`,
    then after twice as long each time, up to `longest_recovery_pause_seconds`.
    """

    policy: AspiredVersionPolicy = AspiredVersionPolicy.AVAILABILITY_PRESERVING
    num_load_threads: int = 0
    num_unload_threads: int = 0
    max_num_load_retries: int = 5
    load_retry_interval_micros: int = 60_000_000
    recovery_pause_seconds: float = 5.0
    longest_recovery_pause_seconds: float = 300.0


@dataclass(eq=False)
class _Harness:
    """One managed version. `users` counts the requests that hold its servable.

    `is_withdrawn` says that it was taken from what is aspired since. While it is UNLOADING, it
    waits for its last request until `is_closing`, since `unloading_since` (monotonic), None once
    that was said to be long. After `attempts` to load it
    that failed, the last with `error`, the next one is due at `retry_at` (monotonic), None if there
    will be none; `recovery_pause` is how many seconds lie before it once the retries are used up.
    """

    name: str
    version: int
    path: Path
    is_aspired: bool = True
    state: HarnessState = HarnessState.NEW
    servable: Servable | None = None
    users: int = 0
    is_withdrawn: bool = False
    is_closing: bool = False
    unloading_since: float | None = None
    attempts: int = 0
    error: ServingError | None = None
    retry_at: float | None = None
    recovery_pause: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """A version that is available, or the `error` that it ended in."""

    version: int
    error: ServingError | None = None


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
            self._wake.notify_all()
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
                    harness.is_withdrawn = True
            self._wake.notify_all()

    def handle(self, name: str, version: int | None) -> ServableHandle:
        """The given version of a model, or the newest available one if `version` is None.

        Raises ServingError (NOT_FOUND) if it is not available.
        """
        with self._lock:
            harness = self._serving.get((name, version))
            if harness is not None:
                handle = ServableHandle(self, harness)
                harness.users += 1
                return handle
        request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {request}")

    def outcome(self, name: str) -> Outcome | None:
        """What became of the newest version of a model that is available or ended in an error.

        None if there is none yet: what was asked of the model before and is on its way out, or
        was not yet taken up, does not count.
        """
        with self._lock:
            if name in self._pending:
                return None
            for version, harness in sorted(self._managed.get(name, {}).items(), reverse=True):
                if harness.is_aspired and harness.state is HarnessState.READY:
                    return Outcome(version)
                if harness.is_aspired and harness.state is HarnessState.ERROR:
                    return Outcome(version, harness.error)
        return None

    def _release(self, harness: _Harness) -> None:
        with self._lock:
            harness.users -= 1
            if not harness.users and harness.state is HarnessState.UNLOADING:
                self._wake.notify_all()

    def _harnesses(self) -> list[_Harness]:
        return [harness for versions in self._managed.values() for harness in versions.values()]

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._take_turn()
            except BaseException:
                _logger.exception("the manager goes on after a fault of its own")
                time.sleep(_PAUSE_AFTER_FAULT_SECONDS)

    def _take_turn(self) -> None:
        """Takes the next action, or waits until there may be one."""
        with self._lock:
            self._forget_finished()
            self._take_pending()
            self._end_withdrawn()
            self._name_long_unloads()
            step = self._due_retry() or self._unused() or self._next_step()
            if step is None:
                if not self._stopping:
                    self._wake.wait(self._seconds_to_next_event())
                return
            action, harness = step
            loading = action is Action.LOAD
            if not loading and harness.state is HarnessState.READY:
                self._retire(harness)
                return
            before = harness.state
            harness.state = HarnessState.LOADING if loading else HarnessState.UNLOADING
            harness.is_closing = not loading
            perform: Callable[[_Harness], None] = self._load if loading else self._unload
            pool = self._load_pool if loading else self._unload_pool
            if pool:
                try:
                    pool.submit(self._perform, perform, harness)
                except BaseException:
                    harness.state, harness.is_closing = before, False
                    raise
        if not pool:
            try:
                perform(harness)
            except BaseException as failure:
                self._recover(harness, failure)

    def _perform(self, action: Callable[[_Harness], None], harness: _Harness) -> None:
        try:
            action(harness)
        except BaseException as failure:
            self._recover(harness, failure)

    def _recover(self, harness: _Harness, failure: BaseException) -> None:
        """Leaves a version in a state that leads on after a fault of the manager's own."""
        _logger.error(
            "model %s version %d: a fault", harness.name, harness.version, exc_info=failure
        )
        with self._lock:
            if harness.state is HarnessState.LOADING and harness.retry_at is None:
                harness.state = HarnessState.ERROR
                harness.retry_at = time.monotonic() + self._options.recovery_pause_seconds
            elif harness.state is HarnessState.UNLOADING:
                has_servable = harness.servable is not None
                harness.is_closing = False
                harness.state = HarnessState.READY if has_servable else HarnessState.DISABLED
            self._update_serving(harness.name)
            if harness.state is HarnessState.READY:
                self._publish(harness, State.AVAILABLE)
            elif harness.state is not HarnessState.LOADING:
                harness.error = as_serving_error(failure)
                self._publish(harness, State.END, harness.error)
            self._wake.notify_all()

    def _end_withdrawn(self) -> None:
        """Ends what waits to be retried and is not wanted any more."""
        for harness in self._harnesses():
            if harness.is_withdrawn and harness.retry_at is not None:
                harness.retry_at = None
                if harness.state is HarnessState.LOADING:
                    harness.state = HarnessState.ERROR
                    self._publish(harness, State.END, harness.error)

    def _due_retry(self) -> tuple[Action, _Harness] | None:
        """A version whose retry is due. One that had ended is left to the policy like a new one."""
        now = time.monotonic()
        for harness in self._harnesses():
            if harness.retry_at is None or harness.retry_at > now:
                continue
            harness.retry_at = None
            if harness.state is HarnessState.LOADING:
                return Action.LOAD, harness
            harness.state = HarnessState.NEW
        return None

    def _seconds_to_next_event(self) -> float | None:
        times = [item.retry_at for item in self._harnesses() if item.retry_at is not None]
        times += [since + _LONG_UNLOAD_SECONDS for _, since in self._waiting()]
        return max(min(times) - time.monotonic(), 0.0) if times else None

    def _waiting(self) -> list[tuple[_Harness, float]]:
        """The versions that wait for their last requests, and since when."""
        return [
            (item, item.unloading_since)
            for item in self._harnesses()
            if item.state is HarnessState.UNLOADING
            and not item.is_closing
            and item.unloading_since is not None
        ]

    def _name_long_unloads(self) -> None:
        for harness, since in self._waiting():
            if harness.users and time.monotonic() >= since + _LONG_UNLOAD_SECONDS:
                harness.unloading_since = None
                _logger.warning(
                    "model %s version %d is still loaded: %d requests to it are not answered yet",
                    harness.name,
                    harness.version,
                    harness.users,
                )

    def _unused(self) -> tuple[Action, _Harness] | None:
        """A version on its way out whose last request has been answered."""
        for harness in self._harnesses():
            waits = harness.state is HarnessState.UNLOADING and not harness.is_closing
            if waits and not harness.users:
                return Action.UNLOAD, harness
        return None

    def _forget_finished(self) -> None:
        finished = (HarnessState.NEW, HarnessState.DISABLED, HarnessState.ERROR)
        for name, versions in list(self._managed.items()):
            for version, harness in list(versions.items()):
                if not harness.is_aspired and harness.state in finished:
                    del versions[version]
                    if harness.state is HarnessState.NEW:
                        self._publish(harness, State.END, harness.error)
            if not versions:
                del self._managed[name]

    def _take_pending(self) -> None:
        for name, wanted in list(self._pending.items()):
            managed = self._managed.setdefault(name, {})
            leaving = [
                managed[each] for each in wanted if each in managed and not managed[each].is_aspired
            ]
            # A version that is on its way out comes back only when it is out, unless a request
            # holds it there.
            if not all(self._is_held(each, wanted[each.version]) for each in leaving):
                continue
            for harness in leaving:
                self._take_back(harness)
            del self._pending[name]
            for version, harness in managed.items():
                harness.is_aspired = version in wanted
                harness.is_withdrawn = not harness.is_aspired
            for version, path in wanted.items():
                if version not in managed:
                    managed[version] = _Harness(name, version, path)
                    self._publish(managed[version], State.START)

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
        """Tries once to load a version: whatever a SavedModel makes TensorFlow raise ends this
        version, not the thread. A retry is an action of its own, so that it holds up no other."""
        with self._lock:
            self._publish(harness, State.LOADING)
        servable: Servable | None = None
        error: ServingError | None = None
        try:
            servable = self._loader.load(harness.name, harness.version, harness.path)
        except BaseException as failure:
            error = as_serving_error(failure)
        with self._lock:
            if error:
                harness.error = error
                self._plan_next_attempt(harness, error)
            else:
                harness.servable = servable
                harness.state = HarnessState.READY
                harness.attempts, harness.recovery_pause = 0, 0.0
                self._update_serving(harness.name)
            if harness.state is not HarnessState.LOADING:
                self._publish(harness, State.END if error else State.AVAILABLE, error)
            self._wake.notify_all()

    def _plan_next_attempt(self, harness: _Harness, error: ServingError) -> None:
        """Leaves the version LOADING if it is to be retried, else makes it an ERROR."""
        options = self._options
        attempts = options.max_num_load_retries + 1
        harness.attempts += 1
        model = f"model {harness.name} version {harness.version}"
        is_final = harness.is_withdrawn or isinstance(error, VersionRefusedError)
        if harness.attempts < attempts and not is_final:
            wait = max(options.load_retry_interval_micros, 0) / 1e6
            harness.retry_at = time.monotonic() + wait
            _logger.warning(
                "%s: attempt %d of %d to load failed, next in %g s: %s",
                model,
                harness.attempts,
                attempts,
                wait,
                in_one_line(error),
            )
            return
        harness.state = HarnessState.ERROR
        if not may_pass(error) or harness.is_withdrawn:
            _logger.error("%s failed to load: %s", model, in_one_line(error))
            return
        harness.recovery_pause = min(
            2 * harness.recovery_pause or options.recovery_pause_seconds,
            options.longest_recovery_pause_seconds,
        )
        harness.retry_at = time.monotonic() + harness.recovery_pause
        _logger.error(
            "%s failed to load, next try in %g s: %s",
            model,
            harness.recovery_pause,
            in_one_line(error),
        )

    def _publish(self, harness: _Harness, state: State, error: ServingError | None = None) -> None:
        """Tells the monitor; what it makes of it must not change what becomes of the version.

        Called in the lock that the version changes in, so that no state overtakes another.
        """
        try:
            self._monitor.publish(harness.name, harness.version, state, error)
        except BaseException:
            _logger.exception(
                "model %s version %d: %s not noted", harness.name, harness.version, state.name
            )

    def _retire(self, harness: _Harness) -> None:
        """Gives a version to no more requests; it is unloaded once it has answered its last."""
        harness.state = HarnessState.UNLOADING
        harness.unloading_since = time.monotonic()
        self._publish(harness, State.UNLOADING)
        self._update_serving(harness.name)

    def _is_held(self, harness: _Harness, path: Path) -> bool:
        """Whether a version on its way out still is what lies at `path`, for a request's sake."""
        waits = harness.state is HarnessState.UNLOADING and not harness.is_closing
        return waits and harness.users > 0 and harness.path == path

    def _take_back(self, harness: _Harness) -> None:
        harness.state = HarnessState.READY
        self._publish(harness, State.AVAILABLE)
        self._update_serving(harness.name)

    def _unload(self, harness: _Harness) -> None:
        servable, harness.servable = harness.servable, None
        name, version = harness.name, harness.version
        try:
            if servable is not None:
                servable.close()
        except BaseException as error:
            _logger.error(
                "model %s version %d did not close: %s", name, version, as_serving_error(error)
            )
        del servable
        # A graph is full of reference cycles, and a large one is memory that is wanted back now.
        gc.collect()
        _logger.info("model %s version %d unloaded", name, version)
        with self._lock:
            harness.state = HarnessState.DISABLED
            self._publish(harness, State.END)
            self._wake.notify_all()

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
