"""Both clients against a real server: the same interface, the same answers, the same errors."""

import base64
import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from serving.client.errors import (
    InvalidRequestError,
    NotFoundError,
    ScaledPixelsError,
    TimeoutExceededError,
    UnavailableError,
)
from serving.client.grpc_client import GrpcClient
from serving.client.interface import ModelClient
from serving.client.rest_client import RestClient
from serving.client.retry import Retries
from serving.status import State, VersionStatus
from tests.integration.conftest import CONFORMANCE, ModelServerProcess, free_port

pytestmark = pytest.mark.integration

Connect = Callable[[str], ModelClient]

PNG = base64.b64decode(
    next(
        json.loads(exchange["body"])["examples"][0]["image"]["b64"]
        for exchange in json.loads((CONFORMANCE / "exchanges.json").read_text())
        if exchange["id"] == "rest_fashion_png"
    )
)


@pytest.fixture(params=["rest", "grpc"])
def connect(
    request: pytest.FixtureRequest, conformance_server: ModelServerProcess
) -> Iterator[Connect]:
    """Makes a client of a model, over REST and over gRPC in turn."""
    clients: list[ModelClient] = []

    def connect(model_name: str) -> ModelClient:
        client: ModelClient = (
            RestClient(conformance_server.url, model_name)
            if request.param == "rest"
            else GrpcClient(conformance_server.address, model_name)
        )
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close()


def test_status_lists_versions_newest_first(connect: Connect) -> None:
    client = connect("half_plus")
    assert client.status() == [
        VersionStatus(2, State.AVAILABLE),
        VersionStatus(1, State.AVAILABLE),
    ]
    assert [item.version for item in client.status(1)] == [1]


def test_waiting_for_an_available_version_returns_it(connect: Connect) -> None:
    assert connect("fashion").wait_until_available().version == 7
    assert connect("half_plus").wait_until_available(version=1).version == 1
    with pytest.raises(TimeoutExceededError, match="nope is not AVAILABLE"):
        connect("nope").wait_until_available(timeout=0)


def test_predictions_by_version_and_label(connect: Connect) -> None:
    client = connect("half_plus")
    newest = client.predict({"x": [1.0, 2.0]})
    assert list(newest) == ["y"]
    assert newest["y"].dtype == np.float32
    assert newest["y"].tolist() == [3.5, 4.0]
    assert client.predict({"x": [1.0]}, version=1)["y"].tolist() == [2.5]
    assert client.predict({"x": [1.0]}, label="stable")["y"].tolist() == [2.5]
    assert client.predict({"x": [1.0]}, label="canary")["y"].tolist() == [3.5]
    assert client.predict({"x": [1.0]}, label="")["y"].tolist() == [3.5]
    assert client.predict({"x": [1.0]}, version=1, label="")["y"].tolist() == [2.5]


def test_several_inputs_and_outputs_of_all_kinds(connect: Connect) -> None:
    client = connect("shapes")
    outputs = client.predict({"a": [[1, 2]], "b": [[1, 2, 3]]})
    assert outputs["sum"].tolist() == [9.0]
    assert outputs["outer"].shape == (1, 2, 3)
    assert outputs["name"].tolist() == ["9.0"]
    kinds = client.predict({"i": [2**53 + 1], "f": [True], "d": [1.0], "u": [7]}, "kinds")
    assert kinds["i"].tolist() == [2**53 + 2]
    assert kinds["f"].tolist() == [False]
    assert kinds["d"].dtype == np.float64
    assert kinds["u"].dtype == np.uint8


def test_bytes_go_out_and_come_back(connect: Connect) -> None:
    outputs = connect("shapes").predict({"image_bytes": [b"\xff\0", "text"]}, "blob")
    assert outputs["echo_bytes"].tolist() == [b"\xff\0", b"text"]
    assert outputs["echo"].tolist() == ["ok:2", "ok:4"]
    assert outputs["length"].tolist() == [2, 4]


def test_special_values_survive(connect: Connect) -> None:
    outputs = connect("shapes").predict({"v": [0.0, -1.0]}, "special")
    assert outputs["inv"].tolist() == [np.inf, -1.0]
    np.testing.assert_array_equal(outputs["log"], np.array([-np.inf, np.nan], np.float32))


def test_images_are_classified_with_labels(connect: Connect) -> None:
    results = connect("fashion").classify([{"image": PNG}, {"image": PNG}])
    assert len(results) == 2
    assert len(results[0]) == 10
    assert results[0][0].label == "Coat"
    assert results[0][0].score == pytest.approx(0.268367738, rel=1e-5)


def test_pixels_are_predicted_unless_scaled(connect: Connect) -> None:
    client = connect("fashion")
    images = np.zeros((1, 28, 28, 1), np.float32)
    images[0, 0, 0, 0] = 1
    with pytest.raises(ScaledPixelsError):
        client.predict({"images": images}, "predict_images")
    images[0, 0, 0, 0] = 255
    assert client.predict({"images": images}, "predict_images")["probabilities"].shape == (1, 10)


def test_errors_say_what_the_server_said(connect: Connect) -> None:
    with pytest.raises(NotFoundError, match="nope"):
        connect("nope").classify([{"image": PNG}])
    with pytest.raises(NotFoundError, match=r"Specific\(half_plus, 9\)"):
        connect("half_plus").predict({"x": [1.0]}, version=9)
    with pytest.raises(InvalidRequestError, match="Unrecognized servable version label: nope"):
        connect("half_plus").predict({"x": [1.0]}, label="nope")
    with pytest.raises(InvalidRequestError, match="not both"):
        connect("half_plus").predict({"x": [1.0]}, version=1, label="stable")
    with pytest.raises(InvalidRequestError, match="no signature 'nope'"):
        connect("half_plus").predict({"x": [1.0]}, "nope")
    with pytest.raises(InvalidRequestError, match="Unknown image file format"):
        connect("fashion").classify([{"image": b"no image"}])


def test_a_server_that_is_not_there_is_unavailable() -> None:
    port = free_port()
    once = Retries(attempts=1)
    clients: list[ModelClient] = [
        RestClient(f"http://127.0.0.1:{port}", "half_plus", retries=once),
        GrpcClient(f"127.0.0.1:{port}", "half_plus", retries=once),
    ]
    for client in clients:
        with pytest.raises(UnavailableError):
            client.status()
        client.close()
