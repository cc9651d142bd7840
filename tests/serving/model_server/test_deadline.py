"""Deadlines end what waits and what runs; without one, nothing is paid for them."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from serving.model_server import deadline
from serving.model_server.batching import BatchingOptions, BatchingRunner, BatchScheduler
from serving.model_server.errors import Code, ServingError
from serving.model_server.loader import LoaderOptions, SavedModelLoader
from serving.model_server.metrics import Metrics
from serving.model_server.servable import Step

ENDLESS = np.int64([2**62])


class Counting(tf.Module):
    """Counts up to its input, so that a call takes as long as it is told to."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, "limit")])
    def count(self, limit: tf.Tensor) -> dict[str, tf.Tensor]:
        reached = tf.while_loop(
            lambda number: tf.reduce_any(number < limit),
            lambda number: (number + 1,),
            (tf.zeros_like(limit),),
        )
        return {"reached": reached[0]}


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Any:
    module = Counting()
    path = tmp_path_factory.mktemp("counting") / "1"
    tf.saved_model.save(module, str(path), signatures=module.count)
    return SavedModelLoader(LoaderOptions(config_pb2.ConfigProto()), Metrics()).load("m", 1, path)


def exceeded_by(call: Callable[[], Any], seconds: float) -> ServingError:
    with pytest.raises(ServingError) as refusal, deadline.at(time.monotonic() + seconds):
        call()
    assert refusal.value.code == Code.DEADLINE_EXCEEDED
    assert refusal.value.message == "Timed out waiting for notification"
    return refusal.value


def test_a_deadline_compiles_nothing(counting: Any) -> None:
    session = counting._runner._session
    with mock.patch.object(session, "_make_callable_from_options") as compiled:
        for seconds in (None, 0.9, 5, 31, 600):
            moment = time.monotonic() + seconds if seconds else None
            with deadline.at(moment):
                assert counting.predict("", {"limit": np.int64([3])})["reached"].tolist() == [3]
    compiled.assert_not_called()


def test_of_too_many_steps_those_past_the_limit_are_compiled_for_each_run(
    counting: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.model_server.servable._MAX_KEPT_STEPS", 0)
    counting._runner._steps.clear()
    for _ in range(2):
        assert counting.predict("", {"limit": np.int64([3])})["reached"].tolist() == [3]
    exceeded_by(lambda: counting.predict("", {"limit": ENDLESS}), 0.2)
    assert not counting._runner._steps


def test_a_run_ends_at_its_deadline_even_if_calls_like_it_were_quick(counting: Any) -> None:
    with deadline.at(time.monotonic() + 60):
        for _ in range(20):
            assert counting.predict("", {"limit": np.int64([3])})["reached"].tolist() == [3]
    exceeded_by(lambda: counting.predict("", {"limit": ENDLESS}), 0.2)
    assert counting.predict("", {"limit": np.int64([3])})["reached"].tolist() == [3]


def test_a_deadline_that_has_passed_starts_no_run(counting: Any) -> None:
    exceeded_by(lambda: counting.predict("", {"limit": ENDLESS}), -1)


def test_a_deadline_holds_for_its_block_and_its_thread_only() -> None:
    moment = time.monotonic() + 10
    with deadline.at(moment), ThreadPoolExecutor(1) as pool:
        with deadline.at(None):
            assert deadline.remaining() is None
        assert deadline.current() == moment
        assert pool.submit(deadline.current).result() is None
    assert deadline.current() is None


class Gated:
    """A runner that waits for its gate and records what it ran, and by when."""

    blocks = False

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.ran: list[tuple[list[float], float | None]] = []

    def run(self, step: Step, values: Any) -> list[np.ndarray]:
        self.entered.set()
        assert self.gate.wait(60)
        self.ran.append((values[0].tolist(), deadline.current()))
        return [values[0]]

    def close(self) -> None:
        pass


@pytest.fixture
def gated() -> Gated:
    return Gated()


@pytest.fixture
def batching(gated: Gated) -> Iterator[BatchingRunner]:
    scheduler = BatchScheduler(1)
    yield BatchingRunner(gated, scheduler, BatchingOptions(max_execution_batch_size=2))
    gated.gate.set()
    scheduler.stop()


def run(runner: BatchingRunner, value: float, moment: float | None = None) -> list[np.ndarray]:
    with deadline.at(moment):
        return runner.run(Step(("x:0",), ("y:0",)), [np.float32([value])])


def test_a_task_that_expires_in_the_queue_is_never_run(
    gated: Gated, batching: BatchingRunner
) -> None:
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run, batching, 1)
        assert gated.entered.wait(60)
        with pytest.raises(ServingError) as refusal:
            run(batching, 2, time.monotonic() + 0.1)
        assert refusal.value.code == Code.DEADLINE_EXCEEDED
        gated.gate.set()
        first.result(60)
        run(batching, 3)
    assert [values for values, _ in gated.ran] == [[1], [3]]


def test_a_batch_runs_until_the_last_of_its_deadlines(
    gated: Gated, batching: BatchingRunner
) -> None:
    late = time.monotonic() + 60
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(run, batching, 1)]
        assert gated.entered.wait(60)
        calls += [pool.submit(run, batching, 2, moment) for moment in (late - 1, late)]
        while sum(len(batch.tasks) for [batch] in list(batching._scheduler._queues.values())) < 2:
            pass
        gated.gate.set()
        assert [len(call.result(60)) for call in calls] == [1, 1, 1]
    assert gated.ran == [([1], None), ([2, 2], late)]
