"""Pushing, rolling back, labelling and pruning under a live server's feet, with clients on it."""

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import docker
import grpc
import pytest
import requests
import tensorflow as tf
from docker.types import Mount
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from cli.tables.versions import listing
from components.pusher.live_check import LiveCheckError, check_live_server
from serving.client.status import fetch_status, known_versions, wait_until_available
from serving.versions.labels import move_label
from serving.versions.prune import prune
from serving.versions.publish import publish
from serving.versions.record import Pushed
from serving.versions.rollback import roll_back
from serving.versions.store import VersionStore
from tests.integration.conftest import StartModelServer, free_port
from tests.integration.serving_image import build_image, missing_engine
from tests.integration.soak_results import write_result
from tests.tiny_models import SIZE, GreyClassifier, save

NAME = "grey"
NO_ENGINE = missing_engine()


@pytest.fixture(scope="module")
def sound_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(GreyClassifier(), tmp_path_factory.mktemp("sound") / "model")


class Pusher:
    """Pushes the same model again and again, each time with one file that differs."""

    def __init__(self, base: Path, model: Path) -> None:
        self.store = VersionStore(base)
        self._copy = Path(shutil.copytree(model, base.parent / "next"))
        self._count = 0

    def push(self) -> int:
        self._count += 1
        (self._copy / "assets.extra").mkdir(exist_ok=True)
        (self._copy / "assets.extra" / "push.txt").write_text(str(self._count))
        return publish(self.store, self._copy, Pushed()).version


class Clients:
    """Four clients, over both protocols, for the newest version and for a label."""

    def __init__(self, address: str, rest_url: str) -> None:
        self.failures: list[str] = []
        self.answers: Counter[str] = Counter()
        self._stopped = threading.Event()
        newest, stable = predict_pb2.PredictRequest(), predict_pb2.PredictRequest()
        for request in (newest, stable):
            request.model_spec.name, request.model_spec.signature_name = NAME, "predict_images"
            images = tf.make_tensor_proto([[[[255.0]] * SIZE] * SIZE])
            request.inputs["images"].CopyFrom(images)
        stable.model_spec.version_label = "stable"
        url = f"{rest_url}/v1/models/{NAME}"
        asks = {
            "gRPC newest": lambda: self._over_grpc(address, newest),
            "gRPC stable": lambda: self._over_grpc(address, stable),
            "REST newest": lambda: self._over_rest(f"{url}:predict"),
            "REST stable": lambda: self._over_rest(f"{url}/labels/stable:predict"),
        }
        self._threads = [
            threading.Thread(target=self._ask, args=(name, connect()), daemon=True)
            for name, connect in asks.items()
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, name: str, ask: Callable[[], str]) -> None:
        while not self._stopped.is_set():
            try:
                label = ask()
            except (grpc.RpcError, requests.RequestException) as error:
                self.failures.append(f"{name}: {error}")
                continue
            self.answers[name] += 1
            if label != "white":
                self.failures.append(f"{name}: answered {label}")

    def _over_grpc(self, address: str, request: predict_pb2.PredictRequest) -> Callable[[], str]:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(address))
        return lambda: stub.Predict(request, timeout=60).outputs["label"].string_val[0].decode()

    def _over_rest(self, url: str) -> Callable[[], str]:
        session = requests.Session()
        body = {
            "signature_name": "predict_images",
            "instances": [[[[255.0]] * SIZE] * SIZE],
        }

        def ask() -> str:
            response = session.post(url, json=body, timeout=60)
            if response.status_code != 200:
                raise requests.HTTPError(f"{response.status_code} {response.text[:300]}")
            return str(response.json()["predictions"][0]["label"])

        return ask


# Starts a server for a base directory and gives its gRPC address and its REST URL.
StartServer = Callable[[Path], tuple[str, str]]


def server_flags(config: str) -> list[str]:
    return [
        f"--model_config_file={config}",
        "--model_config_file_poll_wait_seconds=1",
        "--allow_version_labels_for_unavailable_models=true",
    ]


@pytest.fixture
def embedded(start_model_server: StartModelServer) -> StartServer:
    def start(base: Path) -> tuple[str, str]:
        server = start_model_server(*server_flags(str(base / "models.config")))
        return server.address, server.url

    return start


def exercise(
    start: StartServer,
    folder: Path,
    model: Path,
    pushes: int,
    rollbacks: int,
    base_path: str | None = None,
) -> dict[str, int]:
    """Pushes and rolls back under load; returns how many requests were answered."""
    base = folder / NAME
    base.mkdir()
    pusher, store = Pusher(base, model), VersionStore(base)
    first = pusher.push()
    pusher.push()
    move_label(
        store,
        "stable",
        first,
        model_name=NAME,
        base_path=base_path,
        wait_until_loaded=lambda _: None,
    )
    address, url = start(base)

    def wait(version: int) -> None:
        wait_until_available(partial(fetch_status, url, NAME, version=version), 120, NAME)

    wait(first)
    randomness = random.Random(7)
    clients = Clients(address, url)
    try:
        for number in range(1, pushes + 1):
            newest = pusher.push()
            if number % (pushes // rollbacks) == 0:
                if randomness.random() < 0.5:
                    wait(newest)
                roll_back(store, newest, "a drill", wait_until_loaded=wait)
            elif number % 7 == 3:
                wait(newest)
                move_label(
                    store,
                    "stable",
                    newest,
                    model_name=NAME,
                    base_path=None,
                    wait_until_loaded=wait,
                )
            if number % 5 == 4:
                prune(store, keep=2)
            time.sleep(randomness.uniform(0, 0.5))
        last = pusher.push()
        wait(last)
        time.sleep(0.5)
    finally:
        clients.stop()

    assert clients.failures == []
    assert all(clients.answers[name] for name in clients.answers)
    assert len(clients.answers) == 4
    return {
        "clients": 4,
        "pushed": pushes,
        "rolled back": rollbacks,
        "requests answered": sum(clients.answers.values()),
        "requests failed": len(clients.failures),
    }


@pytest.mark.integration
def test_no_request_fails_while_versions_come_and_go(
    embedded: StartServer, tmp_path: Path, sound_model: Path
) -> None:
    exercise(embedded, tmp_path, sound_model, pushes=8, rollbacks=2)


@pytest.mark.soak
def test_no_request_fails_while_100_versions_are_pushed_and_20_rolled_back(
    embedded: StartServer, tmp_path: Path, sound_model: Path
) -> None:
    result = exercise(embedded, tmp_path, sound_model, pushes=100, rollbacks=20)
    write_result("push_live_server", {"server": "embedded", **result})


@pytest.mark.soak
@pytest.mark.skipif(NO_ENGINE is not None, reason=str(NO_ENGINE))
def test_no_request_fails_in_a_container_that_sees_the_versions_under_another_path(
    tmp_path: Path, sound_model: Path
) -> None:
    folder = tmp_path / "probe"
    shutil.copytree(sound_model, folder / "1")
    image = build_image(folder, free_port())
    client = docker.from_env()
    containers = []

    def start(base: Path) -> tuple[str, str]:
        container = client.containers.run(
            image,
            server_flags(f"/models/{NAME}/models.config"),
            environment={"MODEL_NAME": NAME},
            mounts=[Mount(f"/models/{NAME}", str(base), type="bind", read_only=True)],
            ports=dict.fromkeys(("8500/tcp", "8501/tcp"), ("127.0.0.1", 0)),
            detach=True,
        )
        containers.append(container)
        container.reload()
        grpc_port, rest_port = (
            container.ports[port][0]["HostPort"] for port in ("8500/tcp", "8501/tcp")
        )
        return f"127.0.0.1:{grpc_port}", f"http://127.0.0.1:{rest_port}"

    try:
        path = f"/models/{NAME}"
        result = exercise(start, tmp_path, sound_model, 30, 6, base_path=path)
    finally:
        for container in containers:
            container.remove(force=True)
        client.close()
    write_result("push_live_container", {"server": f"docker image {image}", **result})


@pytest.mark.integration
def test_the_live_check_tells_a_version_that_serves_from_one_that_does_not_load(
    start_model_server: StartModelServer, tmp_path: Path, sound_model: Path
) -> None:
    base = tmp_path / NAME
    base.mkdir()
    pusher = Pusher(base, sound_model)
    good = pusher.push()
    server = start_model_server(f"--model_name={NAME}", f"--model_base_path={base}")
    check_live_server(server.url, NAME, good, sound_model, 120)

    broken = tmp_path / "broken"
    shutil.copytree(sound_model, broken)
    (broken / "variables" / "variables.index").write_bytes(b"broken")
    bad = publish(pusher.store, broken, Pushed()).version
    with pytest.raises(LiveCheckError, match=f"did not serve version {bad} of {NAME}"):
        check_live_server(server.url, NAME, bad, broken, 5)
    roll_back(pusher.store, bad, "live check failed")

    assert known_versions(server.url, NAME)[good].is_available
    listed = {entry.version: entry for entry in listing(base, NAME, server.url).versions}
    assert listed[good].live == "AVAILABLE"
    assert listed[bad].live != "AVAILABLE"
