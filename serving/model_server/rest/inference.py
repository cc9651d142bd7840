"""Runs REST predict, classify and regress requests, and knows which of them are quick.

A quick call answered on the event loop's own thread serves twice the requests of one handed to
another thread and back (measured with `half_plus`: 7,300 a second against 3,500). A slow one would
keep every other client waiting. So the time of each call is remembered by version, signature and
size of the body, and a call is made on the loop only if calls like it were quick so far. Where
nobody else asks, that may be a few milliseconds. A call of a graph whose loops depend on values,
and that is not as quick as it was thought, is given up and made again in another thread.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from tensorflow.core.framework import types_pb2

from serving.model_server import deadline
from serving.model_server.call_times import LONGEST_PAUSE_SECONDS, CallTimes
from serving.model_server.core import ServerCore
from serving.model_server.errors import Code, ServingError, invalid_argument
from serving.model_server.manager import ServableHandle
from serving.model_server.rest import json_fast_path
from serving.model_server.rest.json_examples import ExamplesBody, read_examples
from serving.model_server.rest.json_predict import (
    InputDtypes,
    PredictBody,
    SignatureInputs,
    read_predict,
)
from serving.model_server.rest.json_response import (
    classification_json,
    predict_json,
    regression_json,
)
from serving.model_server.rest.limits import Claim
from serving.model_server.rest.routes import Kind, Route
from serving.model_server.servable import Servable
from serving.model_server.signatures import DEFAULT_SIGNATURE

_MAX_QUICK_BODY_BYTES = 1 << 16
# How much longer than a quick call one may take on the event loop that keeps nobody waiting.
_PATIENCE_WHEN_ALONE = 5

# A number is an object of 24 to 32 bytes and 8 in a list, then a tensor's element; in the answer it
# is a number and two strings again. A member of an object takes about three times as much, but has
# three of the characters that are counted.
_BYTES_PER_VALUE = 160

_Call: TypeAlias = tuple[Kind, str, int]


class _Known(NamedTuple):
    """What is remembered of a version: its signatures' inputs, and how long calls took."""

    dtypes: dict[str, InputDtypes]
    times: CallTimes

    def inputs(self, signature_name: str) -> InputDtypes:
        dtypes = self.dtypes.get(signature_name or DEFAULT_SIGNATURE)
        if dtypes is None:
            raise invalid_argument(
                f'Serving signature name: "{signature_name or DEFAULT_SIGNATURE}" '
                "not found in signature def"
            )
        return dtypes


class RestInference:
    """Inference for the REST API. Thread-safe."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core
        self._known: WeakKeyDictionary[Servable, _Known] = WeakKeyDictionary()

    def run(self, route: Route, body: bytes, claim: Claim) -> bytes:
        """The response body for a request body.

        Raises ServingError for any answer but OK; also if the values of the body would take more
        than the budget has left for `claim`.
        """
        if len(body) > _MAX_QUICK_BODY_BYTES:
            claim.take(_bytes_of_values(body))

        def inputs(signature_name: str) -> InputDtypes:
            with self._servable(route) as servable:
                return self._knowledge(servable).inputs(signature_name)

        request = _read_quickly(route, body, inputs) or _read(route, body, inputs, claim)
        with self._servable(route) as servable:
            return _timed(self._knowledge(servable), servable, _call(route, request, body), request)

    def run_if_quick(self, route: Route, body: bytes, is_alone: bool = False) -> bytes | None:
        """As `run`, but None instead of anything that might take long, or that is unusual.

        `is_alone` says that nobody is kept waiting.
        """
        if len(body) > _MAX_QUICK_BODY_BYTES:
            return None
        try:
            handle = self._servable(route)
        except ServingError:
            return None  # A body that is not well formed has an error that comes first.
        with handle as servable:
            known = self._known.get(servable)
            if known is None or servable.waits:
                return None
            request = _read_quickly(route, body, known.inputs)
            if request is None:
                return None
            call = _call(route, request, body)
            if not known.times.are_quick(call, _PATIENCE_WHEN_ALONE if is_alone else 1):
                return None
            if servable.is_bounded:
                return _timed(known, servable, call, request)
            try:
                with deadline.at(time.monotonic() + LONGEST_PAUSE_SECONDS):
                    return _timed(known, servable, call, request)
            except ServingError as error:
                if error.code is not Code.DEADLINE_EXCEEDED:
                    raise
                return None

    def _servable(self, route: Route) -> ServableHandle:
        return self._core.servable(route.model_name, route.version, route.label)

    def _knowledge(self, servable: Servable) -> _Known:
        known = self._known.get(servable)
        if known is None:
            dtypes = {name: _dtypes(item) for name, item in servable.signatures.items()}
            known = self._known.setdefault(servable, _Known(dtypes, CallTimes()))
        return known


def _dtypes(signature: Any) -> InputDtypes:
    return {
        alias: types_pb2.DataType.Name(info.dtype).removeprefix("DT_").lower()
        for alias, info in sorted(signature.inputs.items())
    }


def _read_quickly(
    route: Route, body: bytes, inputs: SignatureInputs
) -> PredictBody | ExamplesBody | None:
    if route.kind is Kind.PREDICT:
        return json_fast_path.read_predict(body, inputs)
    return json_fast_path.read_examples(body)


def _read(
    route: Route, body: bytes, inputs: SignatureInputs, claim: Claim
) -> PredictBody | ExamplesBody:
    if route.kind is Kind.PREDICT:
        return read_predict(body, inputs)
    return read_examples(body, claim.take)


def _timed(
    known: _Known, servable: Servable, call: _Call, request: PredictBody | ExamplesBody
) -> bytes:
    started = time.perf_counter()
    try:
        return _answer(servable, call[0], request)
    finally:
        # Names come from clients: only those of signatures are kept.
        if not request.signature_name or request.signature_name in known.dtypes:
            known.times.note(call, time.perf_counter() - started)


def _bytes_of_values(body: bytes) -> int:
    """No less than what the values of a JSON body take while they are read and answered."""
    values = sum(map(body.count, (b",", b":", b"[", b"{")))
    return len(body) + values * _BYTES_PER_VALUE


def _call(route: Route, request: PredictBody | ExamplesBody, body: bytes) -> _Call:
    """What quick calls of a version have in common; bodies count by powers of two."""
    return route.kind, request.signature_name, len(body).bit_length()


def _answer(servable: Servable, kind: Kind, request: PredictBody | ExamplesBody) -> bytes:
    if isinstance(request, PredictBody):
        outputs = servable.predict(request.signature_name, request.inputs)
        return predict_json(outputs, request.row_format)
    if kind is Kind.CLASSIFY:
        result = servable.classify(request.signature_name, request.examples)
        return classification_json(result.classes, result.scores)
    return regression_json(servable.regress(request.signature_name, request.examples))
