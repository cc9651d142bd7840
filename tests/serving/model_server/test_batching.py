"""Batching: the same answers, fewer runs; failing requests fail alone; the parameters."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from serving.model_server.batching import BatchingOptions, BatchingRunner, BatchScheduler
from serving.model_server.config_protos import BatchingParameters
from serving.model_server.errors import Code, ServingError, invalid_argument
from serving.model_server.metrics import Metrics
from serving.model_server.servable import Step

STEP = Step(("x:0",), ("y:0",))


class HalfPlus:
    """y = x / 2 + 2; refuses negative numbers; records the sizes it ran; can be held."""

    blocks = False

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.inputs: list[np.ndarray] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    def run(self, step: Step, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.entered.set()
        assert self.gate.wait(60)
        [x] = values
        self.sizes.append(len(x))
        self.inputs.append(x)
        if (x < 0).any():
            raise invalid_argument("negative")
        return [x / 2 + 2]

    def close(self) -> None:
        pass


@pytest.fixture
def model() -> HalfPlus:
    return HalfPlus()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def batching(model: HalfPlus, metrics: Metrics) -> Iterator[Callable[..., BatchingRunner]]:
    schedulers = []

    def start(num_batch_threads: int = 1, **options: Any) -> BatchingRunner:
        scheduler = BatchScheduler(num_batch_threads, "pool", metrics)
        schedulers.append(scheduler)
        return BatchingRunner(model, scheduler, BatchingOptions(**options))

    yield start
    model.gate.set()
    for scheduler in schedulers:
        scheduler.stop()


def together(model: HalfPlus, runner: BatchingRunner, requests: Sequence[np.ndarray]) -> list[Any]:
    """Sends a first request that holds the only batch thread, then all the others at once."""
    model.gate.clear()
    model.entered.clear()
    with ThreadPoolExecutor(len(requests) + 1) as pool:
        first = pool.submit(runner.run, STEP, [np.float32([0])])
        assert model.entered.wait(60)
        futures = [pool.submit(runner.run, STEP, [request]) for request in requests]
        queued = runner._scheduler._queues
        while sum(
            len(batch.tasks) for queue in list(queued.values()) for batch in list(queue)
        ) + sum(future.done() for future in futures) < len(requests):
            pass
        model.gate.set()
        first.result(60)
        return [future.exception(60) or future.result(60)[0].tolist() for future in futures]


def test_concurrent_requests_are_one_run(
    model: HalfPlus, batching: Callable[..., BatchingRunner], metrics: Metrics
) -> None:
    requests = [np.float32([1]), np.float32([2, 3]), np.float32([])]
    assert together(model, batching(), requests) == [[2.5], [3.0, 3.5], []]
    assert model.sizes == [1, 3]
    text = metrics.text()
    assert ":tensorflow:serving:batching_session:wrapped_run_count{} 2" in text
    assert 'queuing_latency_count{thread_pool_name="pool"} 4' in text


def test_a_failing_request_fails_alone(
    model: HalfPlus, batching: Callable[..., BatchingRunner]
) -> None:
    good, bad, other = together(
        model, batching(), [np.float32([1]), np.float32([-1]), np.float32([2])]
    )
    assert (good, other) == ([2.5], [3.0])
    assert isinstance(bad, ServingError)
    assert bad.message == "negative"


def test_requests_of_other_shapes_are_batches_of_their_own(
    model: HalfPlus, batching: Callable[..., BatchingRunner]
) -> None:
    requests = [np.float32([[1]]), np.float32([[1, 2]]), np.float32([[3]])]
    assert together(model, batching(), requests) == [[[2.5]], [[2.5, 3.0]], [[3.5]]]
    assert sorted(model.sizes) == [1, 1, 2]


def test_shapes_are_padded_to_one_batch_if_asked(
    model: HalfPlus, batching: Callable[..., BatchingRunner]
) -> None:
    runner = batching(pad_variable_length_inputs=True)
    requests = [np.float32([[1]]), np.float32([[1, 2]])]
    assert together(model, runner, requests) == [[[2.5, 2.5]], [[2.5, 3.0]]]
    assert model.sizes == [1, 2]


def test_a_run_that_does_not_end_holds_up_no_stop(
    model: HalfPlus, batching: Callable[..., BatchingRunner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.model_server.batching._STOP_SECONDS", 0.05)
    runner = batching()
    model.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(runner.run, STEP, [np.float32([1])])
        assert model.entered.wait(10)
        runner._scheduler.stop()
        assert not asked.done()
        model.gate.set()
        assert asked.result(10)[0].tolist() == [2.5]


def test_a_batch_may_be_told_to_wait_for_longer_than_a_thread_can(
    batching: Callable[..., BatchingRunner], caplog: pytest.LogCaptureFixture
) -> None:
    runner = batching(max_execution_batch_size=2, batch_timeout_micros=2**63 - 1)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(runner.run, STEP, [np.float32([1])])
        time.sleep(0.3)
        second = pool.submit(runner.run, STEP, [np.float32([3])])
        assert [*first.result(60)[0], *second.result(60)[0]] == [2.5, 3.5]
    assert caplog.records == []


def test_an_empty_tensor_among_padded_ones_ends_no_thread(
    model: HalfPlus, batching: Callable[..., BatchingRunner]
) -> None:
    runner = batching(pad_variable_length_inputs=True)
    requests = [np.float32([[1, 2, 3]]), np.zeros([1, 0], np.float32), np.float32([[4]])]
    for _ in range(3):
        assert together(model, runner, requests) == [[[2.5, 3.0, 3.5]], [[]], [[4.0]]]


@pytest.mark.parametrize("error", [RuntimeError("odd"), MemoryError(), GeneratorExit()])
def test_whatever_a_batch_raises_is_the_answer_of_its_tasks(
    model: HalfPlus,
    batching: Callable[..., BatchingRunner],
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    def fail(*arguments: Any, **named: Any) -> None:
        raise error

    runner = batching()
    for owner, name in ((model, "run"), (metrics.batch_wrapped_runs, "add"), (runner, "process")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(ServingError):
                runner.run(STEP, [np.float32([1])])
        assert runner.run(STEP, [np.float32([1])])[0].tolist() == [2.5]


def test_a_batch_is_padded_to_an_allowed_size(
    model: HalfPlus, batching: Callable[..., BatchingRunner]
) -> None:
    runner = batching(max_batch_size=4, allowed_batch_sizes=(1, 4))
    requests = [np.float32([5]), np.float32([6])]
    assert together(model, runner, requests) == [[4.5], [5.0]]
    assert model.sizes == [1, 4]
    assert sorted(model.inputs[1].tolist()) in ([5, 5, 5, 6], [5, 6, 6, 6])


def test_a_batch_never_exceeds_its_size(
    model: HalfPlus, batching: Callable[..., BatchingRunner]
) -> None:
    runner = batching(max_batch_size=2, max_execution_batch_size=2)
    together(model, runner, [np.float32([number]) for number in range(5)])
    assert sorted(model.sizes) == [1, 1, 2, 2]


def test_a_request_larger_than_a_batch_is_refused(
    batching: Callable[..., BatchingRunner],
) -> None:
    with pytest.raises(ServingError) as refusal:
        batching(max_batch_size=2, max_execution_batch_size=2).run(STEP, [np.zeros([3])])
    assert (refusal.value.code, refusal.value.message) == (
        Code.INVALID_ARGUMENT,
        "Task size 3 is larger than maximum input batch size 2",
    )


def test_a_large_request_is_split_if_asked(
    model: HalfPlus, batching: Callable[..., BatchingRunner]
) -> None:
    runner = batching(max_batch_size=5, max_execution_batch_size=2)
    [answer] = runner.run(STEP, [np.float32([1, 2, 3, 4, 5])])
    assert answer.tolist() == [2.5, 3.0, 3.5, 4.0, 4.5]
    assert max(model.sizes) <= 2


def test_a_full_queue_refuses_requests(
    model: HalfPlus, batching: Callable[..., BatchingRunner]
) -> None:
    runner = batching(max_batch_size=1, max_execution_batch_size=1, max_enqueued_batches=1)
    answers = together(model, runner, [np.float32([1]), np.float32([2])])
    [refused] = [answer for answer in answers if isinstance(answer, ServingError)]
    assert (refused.code, refused.message) == (
        Code.UNAVAILABLE,
        "The batch scheduling queue to which this task was submitted is full",
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "Batching Run() must have at least one input tensor"),
        ([np.float32(1)], "Batching Run() input tensors must have at least one dimension"),
        (
            [np.zeros([1]), np.zeros([2])],
            "Batching Run() input tensors must have equal 0th-dimension size",
        ),
    ],
)
def test_inputs_without_a_common_batch_dimension_are_refused(
    batching: Callable[..., BatchingRunner], values: list[np.ndarray], message: str
) -> None:
    with pytest.raises(ServingError) as refusal:
        batching().run(STEP, values)
    assert (refusal.value.code, refusal.value.message) == (Code.INVALID_ARGUMENT, message)


def test_outputs_without_a_batch_dimension_are_answered_all_the_same(
    batching: Callable[..., BatchingRunner], model: HalfPlus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "run", lambda step, values: [np.float32(values[0].sum())])
    assert batching().run(STEP, [np.float32([1, 2])]) == [3.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size { value: 0 }", "max_batch_size must be positive; was 0"),
        (
            "max_batch_size { value: 8 } allowed_batch_sizes: 4",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; "
            "expected 8",
        ),
        (
            "max_batch_size { value: 4 } allowed_batch_sizes: 2 allowed_batch_sizes: 1 "
            "allowed_batch_sizes: 4",
            "allowed_batch_sizes entries must be monotonically increasing",
        ),
        (
            "batch_timeout_micros { value: -1 }",
            "batch_timeout_micros must be non-negative; was -1",
        ),
    ],
)
def test_contradicting_parameters_are_refused(text: str, message: str) -> None:
    with pytest.raises(ServingError) as refusal:
        BatchingOptions.from_proto(text_format.Parse(text, BatchingParameters()))
    assert (refusal.value.code, refusal.value.message) == (Code.INVALID_ARGUMENT, message)


def test_parameters_left_out_have_tensorflow_servings_defaults() -> None:
    text = """
        max_batch_size { value: 128 } batch_timeout_micros { value: 0 }
        max_enqueued_batches { value: 1000000 } num_batch_threads { value: 8 }
    """
    options = BatchingOptions.from_proto(text_format.Parse(text, BatchingParameters()))
    assert options == BatchingOptions(
        max_batch_size=128, max_enqueued_batches=1000000, max_execution_batch_size=128
    )
    assert BatchingOptions.from_proto(BatchingParameters()) == BatchingOptions()


def test_a_models_own_parameters_count_if_asked(conformance: Path, tmp_path: Path) -> None:
    import shutil

    from tensorflow.core.protobuf import config_pb2

    from serving.model_server.loader import LoaderOptions, SavedModelLoader

    path = shutil.copytree(conformance / "models" / "half_plus" / "1", tmp_path / "1")
    scheduler = BatchScheduler(1)
    loader = SavedModelLoader(
        LoaderOptions(
            config_pb2.ConfigProto(),
            batching=BatchingOptions(),
            enable_per_model_batching_parameters=True,
        ),
        Metrics(),
        scheduler,
    )
    plain = loader.load("m", 1, path)
    (path / "batching_params.pbtxt").write_text("max_batch_size { value: 1 }")
    batched = loader.load("m", 1, path)
    assert (plain.waits, batched.waits) == (False, True)
    with pytest.raises(ServingError, match="larger than maximum input batch size 1"):
        batched.predict("", {"x": np.float32([1, 2])})
    assert batched.predict("", {"x": np.float32([1])})["y"].tolist() == [2.5]
    scheduler.stop()
