"""Merges concurrent requests into batches (--enable_batching).

The parameters and the refusals are those of TensorFlow Serving's BatchingSession on a shared
batch scheduler (`tensorflow_serving/batching/README.md`). Two things differ, both to keep answers
the same as without batching: inputs of different shapes go to different batches instead of failing
the batch, and a batch that fails is run again request by request, so that a failing request fails
alone.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving.machine import usable_cpus
from serving.model_server import deadline
from serving.model_server.errors import Code, ServingError, as_serving_error, invalid_argument
from serving.model_server.metrics import Metrics
from serving.model_server.servable import Runner, Step

_logger = logging.getLogger(__name__)

_Outputs = list[np.ndarray]

# A batch may be told to wait for longer than a thread can be.
_LONGEST_WAIT_SECONDS = 3600.0
# What runs for longer when the server stops is nobody's any more: no call waits for it.
_STOP_SECONDS = 5.0
# Before a batch thread goes on after a fault of its own.
_PAUSE_AFTER_FAULT_SECONDS = 0.2


@dataclass(frozen=True)
class BatchingOptions:
    """A BatchingParameters message with TensorFlow Serving's defaults filled in."""

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    max_execution_batch_size: int = 1000

    @classmethod
    def from_proto(cls, proto: Any) -> BatchingOptions:
        """Raises ServingError (INVALID_ARGUMENT) if the sizes contradict each other."""
        defaults = cls()
        max_batch_size = _value(proto, "max_batch_size", defaults.max_batch_size)
        splitting = proto.enable_large_batch_splitting.value
        max_execution = _value(proto, "max_execution_batch_size", max_batch_size)
        options = cls(
            max_batch_size=max_batch_size,
            batch_timeout_micros=_value(
                proto, "batch_timeout_micros", defaults.batch_timeout_micros
            ),
            max_enqueued_batches=_value(
                proto, "max_enqueued_batches", defaults.max_enqueued_batches
            ),
            allowed_batch_sizes=tuple(proto.allowed_batch_sizes),
            pad_variable_length_inputs=proto.pad_variable_length_inputs,
            max_execution_batch_size=max_execution if splitting else max_batch_size,
        )
        options._check()
        return options

    def _check(self) -> None:
        for name in ("max_batch_size", "max_enqueued_batches", "max_execution_batch_size"):
            if getattr(self, name) < 1:
                raise invalid_argument(f"{name} must be positive; was {getattr(self, name)}")
        if self.batch_timeout_micros < 0:
            raise invalid_argument(
                f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}"
            )
        if self.max_execution_batch_size > self.max_batch_size:
            raise invalid_argument(
                "max_batch_size must be greater than or equal to max_execution_batch_size; "
                f"was {self.max_batch_size} and {self.max_execution_batch_size}"
            )
        allowed = self.allowed_batch_sizes
        if allowed and list(allowed) != sorted(set(allowed)):
            raise invalid_argument("allowed_batch_sizes entries must be monotonically increasing")
        if allowed and allowed[-1] != self.max_batch_size:
            raise invalid_argument(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{allowed[-1]}; expected {self.max_batch_size}"
            )


def _value(proto: Any, name: str, default: int) -> int:
    return getattr(proto, name).value if proto.HasField(name) else default


@dataclass(eq=False)
class _Task:
    """One request (or a part of one): values in the order of its step's feeds.

    `moment` (monotonic) is its deadline, None for none; whoever waits for `answer` cancels it then.
    """

    values: Sequence[np.ndarray]
    size: int
    moment: float | None = None
    enqueued: float = field(default_factory=time.monotonic)
    answer: Future[_Outputs] = field(default_factory=Future)


@dataclass(eq=False)
class _Batch:
    runner: BatchingRunner
    step: Step
    deadline: float
    tasks: list[_Task] = field(default_factory=list)
    size: int = 0
    is_closed: bool = False


class BatchScheduler:
    """Threads that take full or overdue batches, shared by all models. Thread-safe."""

    def __init__(
        self, num_batch_threads: int = 0, thread_pool_name: str = "", metrics: Metrics | None = None
    ) -> None:
        """`num_batch_threads` 0 means one per CPU."""
        self._thread_pool_name = thread_pool_name
        self._metrics = metrics or Metrics()
        self._changed = threading.Condition()
        self._queues: dict[Hashable, deque[_Batch]] = {}
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True)
            for number in range(num_batch_threads or usable_cpus())
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finishes what is queued, and ends the threads; one that still runs is left to itself."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        last = time.monotonic() + _STOP_SECONDS
        for thread in self._threads:
            thread.join(max(last - time.monotonic(), 0.0))

    def submit(self, key: Hashable, runner: BatchingRunner, step: Step, task: _Task) -> None:
        """Adds a task to the open batch of queue `key`. ServingError UNAVAILABLE if it is full."""
        options = runner.options
        limit = options.max_execution_batch_size
        with self._changed:
            if self._stopping:
                raise ServingError(Code.UNAVAILABLE, "The server is stopping")
            queue = self._queues.setdefault(key, deque())
            batch = queue[-1] if queue else None
            if batch is None or batch.is_closed or batch.size + task.size > limit:
                if len(queue) >= options.max_enqueued_batches:
                    raise ServingError(
                        Code.UNAVAILABLE,
                        "The batch scheduling queue to which this task was submitted is full",
                    )
                if batch is not None:
                    batch.is_closed = True
                timeout = options.batch_timeout_micros / 1e6
                batch = _Batch(runner, step, time.monotonic() + timeout)
                queue.append(batch)
            batch.tasks.append(task)
            batch.size += task.size
            batch.is_closed = batch.size >= limit
            self._changed.notify()

    def _work(self) -> None:
        while True:
            batch = None
            try:
                batch = self._next_batch()
                if batch is None:
                    return
                self._run(batch)
            except BaseException as error:
                _logger.exception("a batch thread goes on after a fault of its own")
                if batch is None:
                    time.sleep(_PAUSE_AFTER_FAULT_SECONDS)
                    continue
                for task in batch.tasks:
                    with contextlib.suppress(InvalidStateError):
                        task.answer.set_exception(as_serving_error(error))

    def _run(self, batch: _Batch) -> None:
        # From here on a task is cancelled no more; those that were, cost no run.
        tasks = [task for task in batch.tasks if task.answer.set_running_or_notify_cancel()]
        if not tasks:
            return
        now = time.monotonic()
        for task in tasks:
            micros = round((now - task.enqueued) * 1e6)
            self._metrics.batch_queuing_latency.observe(self._thread_pool_name, value=micros)
        self._metrics.batch_wrapped_runs.add()
        batch.runner.process(batch.step, tasks)

    def _next_batch(self) -> _Batch | None:
        with self._changed:
            while True:
                now = time.monotonic()
                heads = [(queue[0], key) for key, queue in self._queues.items() if queue]
                ready = [
                    (batch, key)
                    for batch, key in heads
                    if batch.is_closed or batch.deadline <= now or self._stopping
                ]
                if ready:
                    batch, key = min(ready, key=lambda item: item[0].deadline)
                    batch.is_closed = True
                    self._queues[key].popleft()
                    if not self._queues[key]:
                        del self._queues[key]
                    return batch
                if self._stopping:
                    return None
                waits = [batch.deadline - now for batch, _ in heads]
                self._changed.wait(min([_LONGEST_WAIT_SECONDS, *waits]))


class BatchingRunner:
    """Runs steps of one servable through a BatchScheduler."""

    waits = True
    is_bounded = False

    def __init__(
        self, wrapped: Runner, scheduler: BatchScheduler, options: BatchingOptions
    ) -> None:
        self.options = options
        self._wrapped = wrapped
        self._scheduler = scheduler

    def run(self, step: Step, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        size = _batch_size(values)
        limit = self.options.max_batch_size
        if size > limit:
            raise invalid_argument(
                f"Task size {size} is larger than maximum input batch size {limit}"
            )
        chunk = self.options.max_execution_batch_size
        tasks = [
            _Task(
                [value[start : start + chunk] for value in values],
                min(chunk, size - start),
                deadline.current(),
            )
            for start in range(0, max(size, 1), chunk)
        ]
        key = (id(self), step, self._shape_key(values))
        try:
            for task in tasks:
                self._scheduler.submit(key, self, step, task)
            answers = [task.answer.result(deadline.remaining()) for task in tasks]
        except TimeoutError:
            raise deadline.exceeded() from None
        finally:
            for task in tasks:
                task.answer.cancel()
        if len(answers) == 1:
            return answers[0]
        return [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    def close(self) -> None:
        self._wrapped.close()

    def process(self, step: Step, tasks: Sequence[_Task]) -> None:
        """Answers all tasks of a batch, with what running them raises if need be.

        Called by a batch thread.
        """
        try:
            answers = self._run_merged(step, tasks) if len(tasks) > 1 else None
        except BaseException:
            answers = None
        if answers is None:
            for task in tasks:
                self._run_alone(step, task)
            return
        for task, answer in zip(tasks, answers, strict=True):
            task.answer.set_result(answer)

    def _run_alone(self, step: Step, task: _Task) -> None:
        try:
            answers = self._run_merged(step, [task])
            if answers is None:
                with deadline.at(task.moment):
                    task.answer.set_result(self._wrapped.run(step, task.values))
            else:
                task.answer.set_result(answers[0])
        except BaseException as error:
            task.answer.set_exception(as_serving_error(error))

    def _run_merged(self, step: Step, tasks: Sequence[_Task]) -> list[_Outputs] | None:
        """Runs the tasks as one; None if an output has no batch dimension to cut it along."""
        size = sum(task.size for task in tasks)
        padding = self._padded_size(size) - size
        merged = [
            self._merge([task.values[index] for task in tasks], padding)
            for index in range(len(step.feeds))
        ]
        with deadline.at(_latest(tasks)):
            outputs = self._wrapped.run(step, merged)
        if any(output.ndim == 0 or len(output) != size + padding for output in outputs):
            return None
        answers, start = [], 0
        for task in tasks:
            answers.append([output[start : start + task.size] for output in outputs])
            start += task.size
        return answers

    def _merge(self, parts: Sequence[np.ndarray], padding: int) -> np.ndarray:
        if self.options.pad_variable_length_inputs:
            shape = np.max([part.shape[1:] for part in parts], axis=0).astype(int)
            parts = [_padded(part, shape) for part in parts]
        if padding:
            parts = [*parts, np.repeat(parts[0][:1], padding, axis=0)]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _padded_size(self, size: int) -> int:
        return next(
            (allowed for allowed in self.options.allowed_batch_sizes if allowed >= size), size
        )

    def _shape_key(self, values: Sequence[np.ndarray]) -> Hashable:
        if self.options.pad_variable_length_inputs:
            return tuple((value.dtype.str, value.ndim) for value in values)
        return tuple((value.dtype.str, value.shape[1:]) for value in values)


def _latest(tasks: Sequence[_Task]) -> float | None:
    """When the last of the tasks is no longer waited for, None if one waits for ever."""
    moments = [task.moment for task in tasks]
    return None if None in moments else max(moment for moment in moments if moment is not None)


def _batch_size(values: Sequence[np.ndarray]) -> int:
    """The common 0th dimension; the refusals are those of `batching_util.h`."""
    if not values:
        raise invalid_argument("Batching Run() must have at least one input tensor")
    for value in values:
        if value.ndim == 0:
            raise invalid_argument("Batching Run() input tensors must have at least one dimension")
        if len(value) != len(values[0]):
            raise invalid_argument(
                "Batching Run() input tensors must have equal 0th-dimension size"
            )
    return len(values[0])


def _padded(part: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Widens each dimension but the first to `shape`, filling with the tensor's first element."""
    if tuple(shape) == part.shape[1:]:
        return part
    if not part.size:
        raise invalid_argument("Got empty tensor in batch of non-empty tensors.")
    missing = [int(want) - have for want, have in zip(shape, part.shape[1:], strict=True)]
    widths = [(0, 0)] + [(0, count) for count in missing]
    return np.pad(part, widths, constant_values=part.flat[0])
