"""The REST API on a core in this process: answers, codes, headers, and what waits for what."""

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from serving.model_server import deadline
from serving.model_server.core import ServerCore
from serving.model_server.errors import Code, ServingError
from serving.model_server.metrics import Metrics
from serving.model_server.rest.api import RestApi, RestOptions
from serving.model_server.rest.http_messages import HttpRequest, HttpResponse
from tests.serving.conformance.comparison import same_body

CONFORMANCE = Path(__file__).parents[2] / "conformance"
EXCHANGES = [
    exchange
    for exchange in json.loads((CONFORMANCE / "exchanges.json").read_text())
    if exchange["protocol"] == "rest"
]
METRICS_PATH = "/monitoring/prometheus/metrics"

MakeApi = Callable[..., RestApi]


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture(scope="module")
def api(core: ServerCore, pool: ThreadPoolExecutor) -> RestApi:
    return RestApi(core, RestOptions(0, 4, monitoring_path=METRICS_PATH), pool)


def call(
    api: RestApi,
    method: str,
    target: str,
    body: bytes | str = b"",
    headers: dict[bytes, bytes] | None = None,
) -> HttpResponse:
    content = body.encode() if isinstance(body, str) else body

    async def answer() -> HttpResponse:
        answer = api.handle(HttpRequest(method, target.encode(), headers or {}, content))
        return answer if isinstance(answer, HttpResponse) else await answer

    return asyncio.run(answer())


def error_of(response: HttpResponse) -> str:
    return str(json.loads(response.body)["error"])


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["id"])
def test_every_recorded_exchange_is_answered_as_recorded(
    api: RestApi, exchange: dict[str, Any]
) -> None:
    # Twice: the first call of its kind is made in another thread, the second on the event loop.
    for _ in range(2):
        answer = call(api, exchange["method"], exchange["path"], exchange["body"] or b"")
        assert answer.status == exchange["status"]
        assert answer.content_type == exchange["content_type"]
        if exchange["method"] != "HEAD":
            assert same_body(answer.body.decode("utf-8", "surrogateescape"), exchange["response"])


def test_bodies_are_written_as_recorded_white_space_included(api: RestApi) -> None:
    exact = 0
    for exchange in EXCHANGES:
        answer = call(api, exchange["method"], exchange["path"], exchange["body"] or b"")
        exact += answer.body.decode("utf-8", "surrogateescape") == exchange["response"]
    # The others differ in the order of keys, last digits of floats, or a kernel's text.
    assert exact > 80


@pytest.mark.parametrize(
    ("target", "status", "error"),
    [
        ("/v1/models/nope:predict", 404, "Servable not found for request: Latest(nope)"),
        (
            "/v1/models/half_plus/versions/50:predict",
            404,
            "Servable not found for request: Specific(half_plus, 50)",
        ),
        (
            "/v1/models/half_plus/labels/nope:predict",
            400,
            "Unrecognized servable version label: nope",
        ),
        (
            "/v1/models/half%5Fplus/labels/n%20o:predict",
            400,
            "Unrecognized servable version label: n o",
        ),
        (
            "/v1/models/half_plus/version/50:predict",
            400,
            "Malformed request: POST /v1/models/half_plus/version/50:predict",
        ),
    ],
)
def test_models_versions_and_labels_are_selected_as_by_tensorflow_serving(
    api: RestApi, target: str, status: int, error: str
) -> None:
    answer = call(api, "POST", target, '{"instances": [1.0]}')
    assert (answer.status, error_of(answer)) == (status, error)


@pytest.mark.parametrize(
    ("target", "status", "error"),
    [
        ("/v1/models", 400, "Missing model name in request."),
        ("/v1/models/versions/1/metadata", 400, "Missing model name in request."),
        ("/v1/models/nope", 404, "Could not find any versions of model nope"),
        ("/v1/models/half_plus/versions/9", 404, "Could not find version 9 of model half_plus"),
        ("/v1/models/nope/metadata", 404, "Servable not found for request: Latest(nope)"),
        (
            "/v1/models/half_plus/labels/nope/metadata",
            400,
            "Unrecognized servable version label: nope",
        ),
    ],
)
def test_status_and_metadata_of_what_is_not_there(
    api: RestApi, target: str, status: int, error: str
) -> None:
    answer = call(api, "GET", target)
    assert (answer.status, error_of(answer)) == (status, error)


def test_metadata_names_model_version_and_signatures(api: RestApi) -> None:
    metadata = json.loads(call(api, "GET", "/v1/models/half_plus/labels/stable/metadata").body)
    assert metadata["model_spec"] == {"name": "half_plus", "version": "1", "signature_name": ""}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["x"] == {
        "name": "serving_default_x:0",
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False},
    }
    assert signatures["serving_default"]["method_name"] == "tensorflow/serving/predict"
    assert signatures["serving_default"]["defaults"] == {}


def test_a_version_beyond_int64_is_refused_without_a_text(api: RestApi) -> None:
    answer = call(api, "POST", "/v1/models/half_plus/versions/18446744073709551615:regress", "{}")
    assert (answer.status, answer.content_type, answer.body) == (400, "application/json", b"")


def test_gzipped_requests_are_read(api: RestApi) -> None:
    encoded = {b"content-encoding": b"gzip"}
    body = gzip.compress(b'{"instances": [1.0]}')
    target = "/v1/models/half_plus:predict"
    assert json.loads(call(api, "POST", target, body, encoded).body) == {"predictions": [3.5]}
    for damaged in (body[:-1], body[4:], body + b"x", b"plain"):
        answer = call(api, "POST", target, damaged, encoded)
        assert answer.status == 400
        assert error_of(answer) == "JSON Parse error: The document is empty"


def test_a_gzipped_body_may_not_grow_without_limit(api: RestApi) -> None:
    bomb = gzip.compress(bytes(101 * 1024 * 1024), compresslevel=1)
    encoded = {b"content-encoding": b"gzip"}
    answer = call(api, "POST", "/v1/models/half_plus:predict", bomb, encoded)
    assert error_of(answer) == "JSON Parse error: The document is empty"


def test_a_small_body_that_is_many_numbers_is_refused_before_it_is_read(
    core: ServerCore, pool: ThreadPoolExecutor
) -> None:
    """99 KB of gzip that hold 96 MB of `0e0,` were minutes of a thread."""
    api = RestApi(core, RestOptions(0, 4), pool)
    bomb = gzip.compress(b'{"instances": [' + b"0e0," * (24 << 20) + b"0]}")
    answer = call(api, "POST", "/v1/models/half_plus:predict", bomb, {b"content-encoding": b"gzip"})
    assert answer.status == 413
    assert error_of(answer).startswith("The request needs about ")
    assert api.budget.held == 0


def test_a_context_that_would_be_copied_into_many_examples_is_refused(
    core: ServerCore, pool: ThreadPoolExecutor
) -> None:
    """335 KB, of which TensorFlow Serving makes 10 GB."""
    api = RestApi(core, RestOptions(0, 4, max_memory_bytes=64 << 20), pool)

    def classify(context: int, count: int) -> HttpResponse:
        body = {"context": {"x": "x" * context}, "examples": [{}] * count}
        return call(api, "POST", "/v1/models/half_plus:classify", json.dumps(body))

    too_large, no_room = classify(160 << 10, 60_000), classify(160 << 10, 500)
    assert (too_large.status, no_room.status) == (400, 413)
    assert "is too large for 60000 examples" in error_of(too_large)
    assert error_of(no_room).startswith("The request needs about ")
    assert error_of(classify(10, 3)) != ""
    assert api.budget.held == 0


def test_a_body_that_has_no_room_beside_others_is_refused_for_now(
    core: ServerCore, pool: ThreadPoolExecutor
) -> None:
    api = RestApi(core, RestOptions(0, 4, max_memory_bytes=100 << 20), pool)
    assert api.budget.take(90 << 20)
    body = json.dumps({"instances": [0.5] * 100_000})
    refused = call(api, "POST", "/v1/models/half_plus:predict", body)
    assert (refused.status, api.budget.held) == (503, 90 << 20)
    api.budget.give_back(90 << 20)
    assert call(api, "POST", "/v1/models/half_plus:predict", body).status == 200
    assert api.budget.held == 0


def test_reading_a_large_body_ends_at_the_timeout(
    core: ServerCore, pool: ThreadPoolExecutor
) -> None:
    api = RestApi(core, RestOptions(0, 4, timeout_ms=100), pool)
    slow_to_read = b'{"instances": [' + b"0e0," * 3_000_000 + b"0]}"
    answer = call(api, "POST", "/v1/models/half_plus:predict", slow_to_read)
    assert (answer.status, error_of(answer)) == (504, "Timed out waiting for notification")
    started = time.monotonic()
    pool.submit(int).result()
    while api.budget.held and time.monotonic() < started + 30:
        time.sleep(0.01)
    assert api.budget.held == 0, "the thread has given up too"


def test_the_time_for_sending_a_request_counts(core: ServerCore, pool: ThreadPoolExecutor) -> None:
    api = RestApi(core, RestOptions(0, 4, timeout_ms=1000), pool)
    body = json.dumps({"instances": [0.5] * 20_000}).encode()
    late = HttpRequest("POST", b"/v1/models/half_plus:predict", {}, body, time.monotonic() - 2)

    async def answer() -> HttpResponse:
        return await cast(Awaitable[HttpResponse], api.handle(late))

    assert asyncio.run(answer()).status == 504


def test_other_encodings_are_read_as_they_are(api: RestApi) -> None:
    encoded = {b"content-encoding": b"identity"}
    answer = call(api, "POST", "/v1/models/half_plus:predict", '{"instances": [1.0]}', encoded)
    assert answer.status == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [(b"http://a.example", 200), (b"https://a.example", 200), (b"", 400), (b"file:", 400)],
)
def test_a_preflight_needs_a_web_origin(api: RestApi, origin: bytes, status: int) -> None:
    answer = call(api, "OPTIONS", "/v1/models/half_plus:predict", headers={b"origin": origin})
    assert (answer.status, answer.body) == (status, b"")
    assert answer.content_type == "text/html; charset=ISO-8859-1"
    assert answer.headers == ()


def test_cors_headers_come_with_every_answer_of_the_api_if_enabled(
    core: ServerCore, pool: ThreadPoolExecutor
) -> None:
    api = RestApi(core, RestOptions(0, 4, cors=True, monitoring_path=METRICS_PATH), pool)
    expected = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "POST, GET",
        "Access-Control-Allow-Headers": "Content-Type",
    }
    for method in ("GET", "POST", "OPTIONS"):
        assert dict(call(api, method, "/v1/models/half_plus").headers) == expected
    assert call(api, "GET", METRICS_PATH).headers == ()


def test_metrics_are_served_at_their_path_only(api: RestApi, core: ServerCore) -> None:
    answer = call(api, "GET", METRICS_PATH)
    assert (answer.status, answer.content_type) == (200, "text/plain")
    assert answer.body.startswith(b"# TYPE")
    wrong = call(api, "GET", METRICS_PATH + "?name=x")
    assert (wrong.status, wrong.content_type) == (400, "text/plain")
    assert wrong.body.decode() == (
        f"Unexpected path: {METRICS_PATH}?name=x. Should be {METRICS_PATH}"
    )
    assert call(api, "GET", METRICS_PATH + "/x").status == 404


def test_paths_that_are_no_uri_are_a_bad_request(api: RestApi) -> None:
    answer = call(api, "GET", "/v1/models/%zz")
    assert (answer.status, answer.content_type) == (400, "text/html")
    assert b"<TITLE>400 Bad Request</TITLE>" in answer.body


class SlowServable:
    """A model whose calls wait until they are let go."""

    name = "slow"
    version = 1
    waits = False
    is_bounded = False

    def __init__(self) -> None:
        self.called = threading.Event()
        self.may_answer = threading.Event()
        info = type("Info", (), {"dtype": 1})
        self.signatures = {"serving_default": type("Signature", (), {"inputs": {"x": info}})}

    def predict(self, signature_name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.called.set()
        self.may_answer.wait(60)
        return inputs


class SlowCore:
    """A core with one servable; `error` is what every request for it raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.metrics = Metrics()
        self.slow = SlowServable()
        self.error = error

    @contextmanager
    def servable(self, name: str, version: int | None, label: str | None) -> Iterator[SlowServable]:
        if self.error:
            raise self.error
        yield self.slow

    def model_status(self, name: str, version: int | None = None) -> list[Any]:
        return []


def slow_api(core: SlowCore, pool: ThreadPoolExecutor, timeout_ms: int = 30_000) -> RestApi:
    return RestApi(cast(ServerCore, core), RestOptions(0, 2, timeout_ms=timeout_ms), pool)


PREDICT = HttpRequest("POST", b"/v1/models/slow:predict", {}, b'{"instances": [1.0]}')
STATUS = HttpRequest("GET", b"/v1/models/slow", {}, b"")


def test_status_is_answered_while_a_model_is_busy(pool: ThreadPoolExecutor) -> None:
    core = SlowCore()
    api = slow_api(core, pool)

    async def scenario() -> HttpResponse:
        prediction = asyncio.ensure_future(cast(Awaitable[HttpResponse], api.handle(PREDICT)))
        await asyncio.to_thread(core.slow.called.wait)
        assert cast(HttpResponse, api.handle(STATUS)).status == 200
        assert not prediction.done()
        core.slow.may_answer.set()
        return await prediction

    assert json.loads(asyncio.run(scenario()).body) == {"predictions": [1.0]}


def test_a_request_that_takes_too_long_is_answered_504(pool: ThreadPoolExecutor) -> None:
    core = SlowCore()
    api = slow_api(core, pool, timeout_ms=20)

    async def scenario() -> HttpResponse:
        return await cast(Awaitable[HttpResponse], api.handle(PREDICT))

    answer = asyncio.run(scenario())
    core.slow.may_answer.set()
    assert (answer.status, error_of(answer)) == (504, "Timed out waiting for notification")


@pytest.mark.parametrize("version", ["", "/versions/50", "/labels/nope"])
def test_what_is_wrong_with_a_body_comes_before_a_version_that_is_not_there(
    api: RestApi, version: str
) -> None:
    for _ in range(2):
        answer = call(api, "POST", f"/v1/models/half_plus{version}:predict", '{"instances": [')
        assert (answer.status, "JSON" in error_of(answer)) == (400, True)


def is_at_once(api: RestApi, request: HttpRequest) -> bool:
    async def answered() -> bool:
        answer = api.handle(request)
        if isinstance(answer, HttpResponse):
            return True
        await answer
        return False

    return asyncio.run(answered())


def test_only_calls_known_to_be_quick_are_made_on_the_event_loop(pool: ThreadPoolExecutor) -> None:
    core = SlowCore()
    api = slow_api(core, pool)
    core.slow.may_answer.set()

    assert not is_at_once(api, PREDICT)
    assert any(is_at_once(api, PREDICT) for _ in range(500))
    larger = b'{"instances": [' + b"1.0, " * 20_000 + b"1.0]}"
    for _ in range(2):
        assert not is_at_once(api, HttpRequest("POST", PREDICT.target, {}, larger))
    core.slow.waits = True
    assert not is_at_once(api, PREDICT)


def test_a_call_of_milliseconds_is_made_on_the_event_loop_for_who_is_alone(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = SlowCore()
    api = slow_api(core, pool)
    monkeypatch.setattr(core.slow, "predict", lambda name, inputs: time.sleep(0.0015) or inputs)
    assert not any(is_at_once(api, PREDICT) for _ in range(20))
    assert any(is_at_once(api, replace(PREDICT, is_alone=True)) for _ in range(500))


def test_a_call_that_keeps_the_event_loop_too_long_is_made_again_elsewhere(
    pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = SlowCore()
    api = slow_api(core, pool)
    core.slow.may_answer.set()
    assert any(is_at_once(api, PREDICT) for _ in range(500))
    granted: list[float] = []

    def predict(name: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        granted.append(cast(float, deadline.remaining()))
        if granted[-1] < 1:
            raise deadline.exceeded()
        return inputs

    monkeypatch.setattr(core.slow, "predict", predict)
    answer = call(api, "POST", "/v1/models/slow:predict", PREDICT.body)
    assert (answer.status, len(granted)) == (200, 2)
    assert granted[0] <= 0.05 < granted[1]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (Code.INVALID_ARGUMENT, 400),
        (Code.FAILED_PRECONDITION, 400),
        (Code.OUT_OF_RANGE, 400),
        (Code.UNAUTHENTICATED, 401),
        (Code.PERMISSION_DENIED, 403),
        (Code.NOT_FOUND, 404),
        (Code.ALREADY_EXISTS, 409),
        (Code.ABORTED, 409),
        (Code.RESOURCE_EXHAUSTED, 429),
        (Code.CANCELLED, 499),
        (Code.INTERNAL, 500),
        (Code.UNKNOWN, 500),
        (Code.DATA_LOSS, 500),
        (Code.UNIMPLEMENTED, 501),
        (Code.UNAVAILABLE, 503),
        (Code.DEADLINE_EXCEEDED, 504),
    ],
)
def test_codes_become_http_statuses(pool: ThreadPoolExecutor, code: Code, status: int) -> None:
    api = slow_api(SlowCore(ServingError(code, "a reason")), pool)
    answer = call(api, "POST", "/v1/models/slow:predict", PREDICT.body)
    assert (answer.status, error_of(answer)) == (status, "a reason")


def test_an_unforeseen_failure_is_logged_and_answered_500(
    pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    api = slow_api(SlowCore(RuntimeError("secret")), pool)
    answer = call(api, "POST", "/v1/models/slow:predict", PREDICT.body)
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "unforeseen" in caplog.text


def test_requests_are_counted_by_model_and_status(pool: ThreadPoolExecutor) -> None:
    core = SlowCore()
    api = slow_api(core, pool)
    core.slow.may_answer.set()
    call(api, "POST", "/v1/models/slow:predict", PREDICT.body)
    call(api, "POST", "/v1/models/slow:predict", "{")
    call(api, "GET", "/v1/models/slow")
    text = core.metrics.text()
    requests = ":tensorflow:serving:request_count"
    assert f'{requests}{{model_name="slow",status="OK"}} 2' in text
    assert f'{requests}{{model_name="slow",status="INVALID_ARGUMENT"}} 1' in text
    latencies = ":tensorflow:serving:request_latency_count"
    assert f'{latencies}{{model_name="slow",API="predict",entrypoint="REST"}} 1' in text
    assert f'{latencies}{{model_name="slow",API="",entrypoint="REST"}} 1' in text
