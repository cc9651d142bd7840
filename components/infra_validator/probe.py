"""Asks a model server every signature over both protocols and judges the answers."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from threading import Lock

import numpy as np
import tensorflow as tf

from components.infra_validator import answers
from components.infra_validator.blessing import Latency
from components.infra_validator.client import CallFailedError, NoAnswerError, ServingClient
from components.infra_validator.model_refused import MissedOnceError, ModelRefusedError
from components.infra_validator.recorded import recorded_calls
from components.infra_validator.requests import Call, RequestBuilder, ServingRequest
from components.infra_validator.saved_model import InProcessModel, SignatureDefs
from components.infra_validator.spec import ValidationSpec
from serving.machine import usable_cpus

# Over REST, one example at a time: enough to see that the form is right.
_REST_SINGLES = 2
_TIMED_REQUESTS = 50
_WARMUP_PER_SIZE = 2

Arrays = dict[str, np.ndarray]


class Probe:
    """The requests of one validation.

    The SavedModel answers in this process only what the server has answered: what kills a server
    must not kill the pipeline.
    """

    def __init__(
        self,
        spec: ValidationSpec,
        signatures: SignatureDefs,
        reference: InProcessModel,
        examples: Sequence[bytes],
    ) -> None:
        """Builds the requests.

        Raises:
            ModelRefusedError: the examples do not fit a signature.
        """
        self._spec = spec
        builder = RequestBuilder(spec, signatures, examples)
        self._outputs = {name: list(signatures[name].outputs) for name in spec.requests}
        self._batches = {name: builder.calls(name, spec.batch_size) for name in spec.requests}
        self._singles = {name: builder.calls(name, 1) for name in spec.requests}
        self._recorded = recorded_calls(spec)
        self._truth = _true_labels(spec, examples)
        self._reference = reference
        self._expected: dict[int, Arrays] = {}
        self.requests_answered = 0
        self._lock = Lock()

    def ask_all(self, client: ServingClient) -> None:
        """Sends every request over both protocols.

        Several signatures at a time: TensorFlow prepares each at its first request, which takes
        half a second and one processor, there and here.

        Raises:
            ModelRefusedError: with one reason for each signature and protocol that failed.
        """

        def ask(name: str) -> list[str]:
            calls = self._batches[name] + self._singles[name][:_REST_SINGLES]
            return self._ask(name, calls, client)

        pool = ThreadPoolExecutor(usable_cpus())
        try:
            reasons = list(chain.from_iterable(pool.map(ask, self._spec.requests)))
        finally:
            # Not waited for: whoever gives up stops the server, and that ends the calls.
            pool.shutdown(wait=False, cancel_futures=True)
        if reasons:
            raise ModelRefusedError(*reasons)

    def ask_recorded(self, client: ServingClient) -> int:
        """Sends the recorded requests of production over gRPC; returns how many were answered.

        Clients send what no model can read, too: a request that the SavedModel refuses in this
        process as the server does is no defect.

        Raises:
            ModelRefusedError: an answer is wrong, or the model refuses every recorded request.
        """
        answered = 0
        where = "Recorded request to {} over gRPC"
        for call in self._recorded:
            defects, found = self._answers(where.format(call.signature), [call], client.over_grpc)
            if not found and self._can_answer(call):
                raise ModelRefusedError(f"{where.format(call.signature)}, {defects[0]}.")
            answered += len(found)
        if self._recorded and not answered:
            raise ModelRefusedError(f"All {len(self._recorded)} recorded requests are refused.")
        return answered

    def _can_answer(self, call: Call) -> bool:
        try:
            self._expect(call)
        except ModelRefusedError:
            return False
        return True

    def ask_once(self, client: ServingClient) -> None:
        """Sends one request to each signature over both protocols; see `ask_all`."""
        reasons = []
        for name in self._spec.requests:
            reasons += self._ask(name, self._singles[name][:1], client, judge_labels=False)
        if reasons:
            raise ModelRefusedError(*reasons)

    def time_requests(self, client: ServingClient) -> dict[str, Latency]:
        """Measures single-example gRPC requests to each signature, one after the other.

        Raises:
            ModelRefusedError: a request failed.
        """
        measured = {}
        for name, calls in self._singles.items():
            seconds = []
            for index in range(_TIMED_REQUESTS):
                call = calls[index % len(calls)]
                began = time.perf_counter()
                try:
                    client.over_grpc(call.request)
                except CallFailedError as error:
                    raise _refusal(f"Signature {name} over gRPC, {call}", error) from error
                seconds.append(time.perf_counter() - began)
            self.requests_answered += len(seconds)
            p50, p99 = np.percentile(seconds, [50, 99]) * 1000
            measured[name] = Latency(p50_ms=round(float(p50), 3), p99_ms=round(float(p99), 3))
        return measured

    def warmup_requests(self) -> list[ServingRequest]:
        """Returns requests of every signature and of both sizes that were used."""
        calls = [
            call
            for name in self._spec.requests
            for sized in (self._singles[name], self._batches[name])
            for call in sized[:_WARMUP_PER_SIZE]
        ]
        return [call.request for call in calls]

    def _ask(
        self, name: str, calls: list[Call], client: ServingClient, *, judge_labels: bool = True
    ) -> list[str]:
        outputs = self._outputs[name]
        protocols: dict[str, Callable[[ServingRequest], Arrays]] = {
            "gRPC": client.over_grpc,
            "REST": lambda request: client.over_rest(request, outputs),
        }
        reasons = []
        for protocol, send in protocols.items():
            defects, found = self._answers(f"Signature {name} over {protocol}", calls, send)
            if not defects and judge_labels:
                defects = self._sample_defects(found)
            reasons += [f"Signature {name} over {protocol}, {defect}." for defect in defects[:1]]
        return reasons

    def _answers(
        self, where: str, calls: list[Call], send: Callable[[ServingRequest], Arrays]
    ) -> tuple[list[str], list[tuple[Call, Arrays]]]:
        """Returns the defects of the first bad answer, and all answers before it."""
        found: list[tuple[Call, Arrays]] = []
        for call in calls:
            try:
                answer = send(call.request)
            except NoAnswerError as error:
                raise _refusal(f"{where}, {call}", error) from error
            except CallFailedError as error:
                return [f"{call}: {error}"], found
            with self._lock:
                self.requests_answered += 1
            wrong = answers.defects(answer, call.size, self._spec.labels)
            wrong = wrong or answers.differences(self._expect(call), answer)
            if wrong:
                return [f"{call}: {defect}" for defect in wrong], found
            found.append((call, answer))
        return [], found

    def _expect(self, call: Call) -> Arrays:
        if id(call) not in self._expected:
            self._expected[id(call)] = self._reference.answer(call)
        return self._expected[id(call)]

    def _sample_defects(self, found: list[tuple[Call, Arrays]]) -> list[str]:
        """Tells a model that guesses from one that was trained."""
        if self._truth is None:
            return []
        batches = [(call, answer) for call, answer in found if call.size > 1]
        right = sum(
            int((answers.top_labels(answer, self._spec.labels) == self._truth[call.rows]).sum())
            for call, answer in batches
        )
        asked = sum(call.size for call, _ in batches)
        if not asked or right / asked >= self._spec.min_sample_accuracy:
            return []
        return [
            f"{right} of {asked} sampled examples are classified correctly, at least "
            f"{self._spec.min_sample_accuracy:.0%} are required: the model looks untrained"
        ]


def _true_labels(spec: ValidationSpec, examples: Sequence[bytes]) -> np.ndarray | None:
    if not spec.label_feature:
        return None
    parsed = (tf.train.Example.FromString(example).features.feature for example in examples)
    ids = [features[spec.label_feature].int64_list.value[0] for features in parsed]
    return np.array(spec.labels, dtype=object)[ids]


def _refusal(where: str, error: CallFailedError) -> ModelRefusedError:
    kind = MissedOnceError if isinstance(error, NoAnswerError) else ModelRefusedError
    return kind(f"{where}: {error}.")
