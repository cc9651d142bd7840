"""A servable: one loaded version of a model, running its signatures.

gRPC, REST and warmup all come through here, so they share every check and error message.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.client import pywrap_tf_session as tf_session

from serving.model_server import deadline
from serving.model_server import signatures as rules
from serving.model_server.call_times import CallTimes
from serving.model_server.errors import Code, ServingError, invalid_argument
from serving.model_server.metrics import Metrics

_logger = logging.getLogger(__name__)

# A client can ask for any subset of a signature's outputs; the session keeps what it compiles for
# each.
_MAX_KEPT_STEPS = 256
# Runs shorter than this on average, and never as long as that lately, need no timeout.
_SHORT_SECONDS = 0.02
_LONGEST_SHORT_SECONDS = 0.2


class Step(NamedTuple):
    """One session run: the names of the tensors fed and fetched."""

    feeds: tuple[str, ...]
    fetches: tuple[str, ...]


class _Tensors(NamedTuple):
    """A step's tensors, as TensorFlow's C API names them."""

    fed: list[Any]
    fetched: list[Any]


class Runner(Protocol):
    """Runs steps: directly in a session, or merged into batches.

    `waits` says whether a run may wait for other requests: it is not to be made in a thread that
    they wait for. `is_bounded` says that no run takes for as long as its input says.
    """

    waits: bool
    is_bounded: bool

    def run(self, step: Step, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs in the order of `step.fetches` for values in the order of `step.feeds`."""

    def close(self) -> None:
        """Frees what the runner holds; no run is under way."""


class RequestLog(Protocol):
    """Takes what was asked and answered; decides itself what to keep."""

    def predict(
        self,
        servable: Servable,
        signature_name: str,
        inputs: Mapping[str, np.ndarray],
        output_filter: Sequence[str],
        outputs: Mapping[str, np.ndarray],
    ) -> None: ...

    def classify(
        self,
        servable: Servable,
        signature_name: str,
        serialized_examples: Sequence[bytes],
        result: rules.Classification,
    ) -> None: ...

    def regress(
        self,
        servable: Servable,
        signature_name: str,
        serialized_examples: Sequence[bytes],
        result: np.ndarray,
    ) -> None: ...


class SessionRunner:
    """Runs steps in a session.

    A run that must end by the caller's deadline takes the session's thread pool and a timeout, as
    in TensorFlow Serving. Short ones of a `is_bounded` graph (bounded_graph.py) do without: they
    run in the caller's thread, which for small models costs half, unless the session's threads were
    asked for (`in_callers_thread` False).

    The session compiles a step once for both. A prepared callable would save a microsecond a run,
    and compile the step anew for each timeout, which takes a tenth of a second and more.
    """

    waits = False

    def __init__(
        self, session: Any, is_bounded: bool = False, in_callers_thread: bool = True
    ) -> None:
        session._extend_graph()  # What `Session.run` does first.
        self._session = session
        # TensorFlow's number for the caller's own thread, and for the session's pool.
        pool = -1 if in_callers_thread else 0
        options = config_pb2.RunOptions(inter_op_thread_pool=pool)
        self._untimed = tf_session.TF_NewBufferFromString(options.SerializeToString())
        # Not in `close`: a batch whose requests were all given up may still run then.
        weakref.finalize(self, tf_session.TF_DeleteBuffer, self._untimed).atexit = False
        self.is_bounded = is_bounded
        self._steps: dict[Step, _Tensors] = {}
        self._times = CallTimes(average=_SHORT_SECONDS, longest=_LONGEST_SHORT_SECONDS)

    def run(self, step: Step, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Raises ServingError with the code and message of the TensorFlow error."""
        remaining = deadline.remaining()
        try:
            if remaining is None:
                outputs = self._run(step, self._untimed, values)
            else:
                outputs = self._run_within(remaining, step, values)
        except tf.errors.OpError as error:
            raise ServingError(Code(error.error_code), error.message) from None
        except UnicodeDecodeError as error:
            # TensorFlow's binding fails so on a kernel's message that quotes bytes of the input.
            message = error.object.decode("utf-8", "surrogateescape")
            raise invalid_argument(message) from None
        return [value if type(value) is np.ndarray else _as_array(value) for value in outputs]

    def close(self) -> None:
        self._steps.clear()
        self._session.close()

    def _run_within(self, seconds: float, step: Step, values: Sequence[np.ndarray]) -> list[Any]:
        call = (step, _weight(values).bit_length())
        is_short = self.is_bounded and self._times.are_quick(call)
        is_compiled = step in self._steps
        started = time.perf_counter()
        try:
            if is_short:
                return self._run(step, self._untimed, values)
            timed = config_pb2.RunOptions(timeout_in_ms=max(int(seconds * 1000), 1))
            options = tf_session.TF_NewBufferFromString(timed.SerializeToString())
            try:
                return self._run(step, options, values)
            finally:
                tf_session.TF_DeleteBuffer(options)
        finally:
            if is_compiled:
                self._times.note(call, time.perf_counter() - started)

    def _run(self, step: Step, options: Any, values: Sequence[np.ndarray]) -> list[Any]:
        """`options` is a TF_Buffer of RunOptions."""
        known = self._steps.get(step)
        tensors = known or self._tensors(step)
        if tensors is None:
            return self._run_once(step, options, values)
        # `Session.run` looks up names and copies options, at ten times the time.
        fed = dict(zip(tensors.fed, values, strict=True))
        outputs: list[Any] = tf_session.TF_SessionRun_wrapper(
            self._session._session, options, fed, tensors.fetched, [], None
        )
        if known is None:
            self._steps[step] = tensors
        return outputs

    def _run_once(self, step: Step, options: Any, values: Sequence[np.ndarray]) -> list[Any]:
        """Compiles a step for one run."""
        callable_options = config_pb2.CallableOptions(
            feed=step.feeds,
            fetch=step.fetches,
            run_options=config_pb2.RunOptions.FromString(tf_session.TF_GetBuffer(options)),
        )
        outputs: list[Any] = self._session._make_callable_from_options(callable_options)(*values)
        return outputs

    def _tensors(self, step: Step) -> _Tensors | None:
        """Returns None where there are too many steps, or a name is none of a tensor's."""
        if len(self._steps) >= _MAX_KEPT_STEPS:
            return None
        named = self._session.graph.get_tensor_by_name
        try:
            return _Tensors(*([named(name)._as_tf_output() for name in names] for names in step))
        except (KeyError, ValueError):
            return None  # TensorFlow's C++ has an error of its own for it.


def _weight(values: Sequence[np.ndarray]) -> int:
    """What a run's time depends on: bytes of numbers and of strings."""
    return sum(
        sum(map(len, value.flat)) if value.dtype.hasobject else value.nbytes for value in values
    )


def _as_array(value: Any) -> np.ndarray:
    """A scalar output comes as a Python or numpy scalar; strings as bytes."""
    return np.asarray(value, dtype=object if isinstance(value, bytes) else None)


class _Predict(NamedTuple):
    """A signature's full predict call, prepared: aliases in the order of the step's tensors."""

    inputs: tuple[str, ...]
    dtypes: tuple[np.dtype[Any], ...]
    outputs: tuple[str, ...]
    step: Step


class _Examples(NamedTuple):
    """A signature's call on serialized tf.Examples, prepared."""

    outputs: tuple[str, ...]
    step: Step


class Servable:
    """One version of a model: `name`, `version`, and its `signatures` (SignatureDef by name).

    Thread-safe. All calls raise ServingError; nothing else for a request's fault. A `request_log`,
    if set, gets a sample of what is asked and answered.
    """

    def __init__(
        self,
        name: str,
        version: int,
        signatures: Mapping[str, Any],
        runner: Runner,
        metrics: Metrics,
        check_method_names: bool = False,
    ) -> None:
        self.name = name
        self.version = version
        self.signatures = signatures
        self._runner = runner
        self._metrics = metrics
        self._check_method_names = check_method_names
        self.request_log: RequestLog | None = None
        self._examples_plans: dict[tuple[str, str], _Examples] = {}
        self._predicts = {key: _prepared(definition) for key, definition in signatures.items()}

    @property
    def waits(self) -> bool:
        """Whether a call may wait for other requests (batching)."""
        return self._runner.waits

    @property
    def is_bounded(self) -> bool:
        """Whether how long a call takes follows from the sizes of its inputs."""
        return self._runner.is_bounded

    def predict(
        self,
        signature_name: str,
        inputs: Mapping[str, Any],
        output_filter: Sequence[str] = (),
        decode: Callable[[str, Any], np.ndarray] | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs a signature on `inputs` (arrays by alias; strings as object arrays of bytes).

        An empty `signature_name` means `serving_default`. `decode(alias, value)` turns an input
        into an array; it is called after the names are checked. Returns arrays by output alias.
        """
        signature_name = signature_name or rules.DEFAULT_SIGNATURE
        prepared = self._prepared_predict(signature_name)
        signature = self.signatures[signature_name]
        if len(inputs) != len(prepared.inputs) or not all(
            map(inputs.__contains__, prepared.inputs)
        ):
            rules.check_input_names(signature, list(inputs))
        values = [
            (decode(alias, inputs[alias]) if decode else inputs[alias])
            if alias in inputs
            else tf.make_ndarray(signature.defaults[alias])
            for alias in prepared.inputs
        ]
        outputs, step = prepared.outputs, prepared.step
        if output_filter:
            outputs = rules.selected_outputs(signature, output_filter)
            step = Step(step.feeds, tuple(signature.outputs[alias].name for alias in outputs))
        rules.check_dtypes(step.feeds, prepared.dtypes, values)
        started = time.perf_counter()
        results = self._runner.run(step, values)
        self._observe("Predict", started)
        answer = dict(zip(outputs, results, strict=True))
        if self.request_log:
            sent = dict(zip(prepared.inputs, values, strict=True))
            self._log(self.request_log.predict, signature_name, sent, output_filter, answer)
        return answer

    def _prepared_predict(self, signature_name: str) -> _Predict:
        prepared = self._predicts.get(signature_name)
        if prepared is None:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f'Serving signature key "{signature_name}" not found.',
            )
        if self._check_method_names:
            rules.check_predict_method(self.signatures[signature_name])
        return prepared

    def classify(
        self, signature_name: str, serialized_examples: Sequence[bytes]
    ) -> rules.Classification:
        """Classifies N serialized tf.Examples with a classify signature."""
        plan = self._examples_plan(signature_name, "Classify", rules.classify_tensors)
        fetched = self._run_examples("Classify", plan, serialized_examples)
        result = rules.classification(fetched, len(serialized_examples))
        if self.request_log:
            self._log(self.request_log.classify, signature_name, serialized_examples, result)
        return result

    def regress(self, signature_name: str, serialized_examples: Sequence[bytes]) -> np.ndarray:
        """Regresses N serialized tf.Examples with a regress signature: float32 [N]."""
        plan = self._examples_plan(signature_name, "Regress", rules.regress_tensors)
        fetched = self._run_examples("Regress", plan, serialized_examples)
        result = rules.regression(fetched, len(serialized_examples))
        if self.request_log:
            self._log(self.request_log.regress, signature_name, serialized_examples, result)
        return result

    def multi_inference(
        self, tasks: Sequence[tuple[str, str]], examples: Callable[[], Sequence[bytes]]
    ) -> list[rules.Classification | np.ndarray]:
        """Runs several classify and regress signatures on the same examples in one session run.

        `tasks` are pairs of signature name and method name; `examples()` gives the serialized
        tf.Examples once the tasks are checked. Returns, per task, what `classify` or `regress`
        return.
        """
        checked = [self._task_tensors(*task) for task in tasks]
        serialized_examples = examples()
        feeds = tuple(sorted({feed for feed, _ in checked}))
        fetches = tuple(sorted({name for _, names in checked for name in names.values()}))
        array = examples_tensor(serialized_examples)
        results = self._runner.run(Step(feeds, fetches), [array] * len(feeds))
        fetched = dict(zip(fetches, results, strict=True))
        count = len(serialized_examples)
        self._metrics.examples.add(self.name, by=count)
        self._metrics.examples_per_request.observe(self.name, value=count)
        answers: list[rules.Classification | np.ndarray] = []
        for (_, method_name), (_, names) in zip(tasks, checked, strict=True):
            outputs = {alias: fetched[name] for alias, name in names.items()}
            check = (
                rules.classification if method_name == rules.CLASSIFY_METHOD else rules.regression
            )
            answers.append(check(outputs, count))
        return answers

    def close(self) -> None:
        """Frees the session. No call may be under way."""
        self._runner.close()

    def _examples_plan(
        self,
        signature_name: str,
        api: str,
        tensors: Callable[[Any, bool], tuple[str, tuple[str, ...]]],
    ) -> _Examples:
        signature_name = signature_name or rules.DEFAULT_SIGNATURE
        plan = self._examples_plans.get((signature_name, api))
        if plan is None:
            signature = self.signatures.get(signature_name)
            if signature is None:
                raise invalid_argument(f"No signature was found with the name: {signature_name}")
            feed, outputs = tensors(signature, self._check_method_names)
            step = Step((feed,), tuple(signature.outputs[alias].name for alias in outputs))
            plan = self._examples_plans[signature_name, api] = _Examples(outputs, step)
        return plan

    def _task_tensors(self, signature_name: str, method_name: str) -> tuple[str, dict[str, str]]:
        """Input tensor name and output tensor names by alias, of one multi-inference task."""
        signature = self.signatures.get(signature_name)
        if signature is None:
            raise invalid_argument(
                f"Requested signature not found in model graph: {signature_name}"
            )
        if method_name == rules.CLASSIFY_METHOD:
            feed, aliases = rules.classify_tensors(signature, self._check_method_names)
        elif method_name == rules.REGRESS_METHOD:
            feed, aliases = rules.regress_tensors(signature, self._check_method_names)
        else:
            raise ServingError(
                Code.UNIMPLEMENTED, f"Unsupported signature method_name: {method_name}"
            )
        return feed, {alias: signature.outputs[alias].name for alias in aliases}

    def _run_examples(
        self, api: str, plan: _Examples, serialized_examples: Sequence[bytes]
    ) -> dict[str, np.ndarray]:
        examples = examples_tensor(serialized_examples)
        started = time.perf_counter()
        results = self._runner.run(plan.step, [examples])
        self._observe(api, started)
        return dict(zip(plan.outputs, results, strict=True))

    def _log(self, write: Callable[..., None], *what: Any) -> None:
        """Logs a request. An answer is given even if it cannot be logged."""
        try:
            write(self, *what)
        except Exception:
            _logger.exception("model %s: a request could not be logged", self.name)

    def _observe(self, api: str, started: float) -> None:
        micros = round((time.perf_counter() - started) * 1e6)
        self._metrics.runtime_latency.observe(self.name, api, "TF1", value=micros)


def examples_tensor(serialized_examples: Sequence[bytes]) -> np.ndarray:
    """Serialized tf.Examples as the object array [N] that a session takes for strings."""
    if not serialized_examples:
        raise invalid_argument("Input is empty.")
    examples = np.empty(len(serialized_examples), dtype=object)
    examples[:] = serialized_examples
    return examples


def _prepared(signature: Any) -> _Predict:
    inputs = tuple(sorted(signature.inputs))
    outputs = tuple(sorted(signature.outputs))
    return _Predict(
        inputs=inputs,
        dtypes=tuple(rules.numpy_dtype(signature.inputs[alias].dtype) for alias in inputs),
        outputs=outputs,
        step=Step(
            tuple(signature.inputs[alias].name for alias in inputs),
            tuple(signature.outputs[alias].name for alias in outputs),
        ),
    )
