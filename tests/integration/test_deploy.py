"""The deployment's files in use: by the embedded server, and by docker compose in a container."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import grpc
import pytest
import requests
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.conftest import CONFORMANCE, ModelServerProcess, free_port
from tests.integration.conftest import model_server_process as run_server
from tests.integration.serving_image import build_image, missing_engine
from tests.tiny_models import GreyClassifier, save

DEPLOY = Path(__file__).parents[2] / "serving" / "deploy"
COMPOSE = shutil.which("docker-compose")
NO_ENGINE = missing_engine()

pytestmark = pytest.mark.integration

_METRIC = re.compile(r":tensorflow:[a-z_:]+")
_PARTS_OF_A_HISTOGRAM = re.compile("_(bucket|sum|count)$")


def serving() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["serving"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServerProcess]:
    """The embedded server with the flags and files of the deployment; only paths differ."""
    folder = tmp_path_factory.mktemp("deploy")
    models, config = folder / "models", folder / "config"
    shutil.copytree(CONFORMANCE / "models" / "fashion", models / "fashion_mnist")
    config.mkdir()
    for name in ("models.config", "monitoring.config", "batching.config"):
        text = (DEPLOY / "config" / name).read_text()
        (config / name).write_text(text.replace("/models/", f"{models}/"))
    flags = [flag.replace("/config/", f"{config}/") for flag in serving()["command"]]
    with run_server(folder, *flags) as process:
        answer = requests.post(
            f"{process.url}/v1/models/fashion_mnist:predict",
            json={"signature_name": "predict_images", "instances": [[[[0.0]] * 28] * 28]},
            timeout=60,
        )
        assert answer.ok, answer.text
        yield process


def metrics(server: ModelServerProcess) -> dict[str, str]:
    """The kind of every metric that the server exports, by name."""
    path = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = path["scrape_configs"]
    page = requests.get(f"{server.url}{job['metrics_path']}", timeout=60)
    assert page.ok
    lines = [line.split() for line in page.text.splitlines() if line.startswith("# TYPE")]
    return {name: kind for _, _, name, kind in lines}


def expressions() -> dict[str, str]:
    """Every PromQL expression of the dashboard and the rules, by what it is for."""
    dashboard = json.loads((DEPLOY / "grafana/dashboards/tensorflow-serving.json").read_text())
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    found |= {rule["alert"]: rule["expr"] for rule in rules["groups"][0]["rules"]}
    variables = dashboard["templating"]["list"]
    return found | {variable["name"]: variable["query"] for variable in variables}


@pytest.mark.parametrize("purpose", expressions())
def test_every_metric_that_is_looked_at_is_one_that_the_server_exports(
    server: ModelServerProcess, purpose: str
) -> None:
    exported = metrics(server)
    names = _METRIC.findall(expressions()[purpose])
    assert names or "up{" in expressions()[purpose]
    for name in names:
        histogram = _PARTS_OF_A_HISTOGRAM.sub("", name)
        assert name in exported or exported.get(histogram) == "histogram", name


def test_ready_is_only_who_has_an_available_version(server: ModelServerProcess) -> None:
    """The probe is the one of compose and of Kubernetes; only port and model differ."""
    *shell, probe = serving()["healthcheck"]["test"][1:]
    probe = probe.replace("8501", str(server.rest_port))
    assert subprocess.run([*shell, probe]).returncode == 0
    assert subprocess.run([*shell, probe.replace("fashion_mnist", "other")]).returncode != 0


@pytest.mark.skipif(NO_ENGINE is not None, reason=str(NO_ENGINE))
@pytest.mark.skipif(COMPOSE is None, reason="there is no docker-compose on PATH")
def test_docker_compose_starts_the_server_on_the_serving_directory(tmp_path: Path) -> None:
    """With an image of this machine behind TensorFlow Serving's entry point.

    As a user without rights, on a file system that only /tmp can be written on.
    """
    save(GreyClassifier(), tmp_path / "grey" / "1")
    image = build_image(tmp_path / "grey", free_port())
    shutil.copytree(CONFORMANCE / "models" / "fashion", tmp_path / "serving" / "fashion_mnist")
    grpc_port, rest_port = free_port(), free_port()
    environment = os.environ | {
        "SERVING_IMAGE": image,
        "SERVING_DIR": str(tmp_path / "serving"),
        "GRPC_PORT": str(grpc_port),
        "REST_PORT": str(rest_port),
        "GRAFANA_ADMIN_PASSWORD": "of nobody",
    }
    project = f"fashion-mnist-test-{rest_port}"
    command = [str(COMPOSE), "-p", project, "-f", str(DEPLOY / "compose.yaml")]

    def compose(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True
        )

    try:
        started = compose("up", "-d", "serving")
        assert started.returncode == 0, started.stderr
        assert _available(f"http://127.0.0.1:{rest_port}"), compose("logs", "serving").stdout
        metrics = "/monitoring/prometheus/metrics"
        page = requests.get(f"http://127.0.0.1:{rest_port}{metrics}", timeout=60).text
        assert ":tensorflow:serving:request_count" in page
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        assert written_by_an_intruder(f"{project}_serving_1") == {"/tmp/x": True, "/x": False}
    finally:
        compose("down", "--volumes", "--timeout", "5")


def written_by_an_intruder(container: str) -> dict[str, bool]:
    """Which files can be made by a process in a container, which is not root and gains nothing."""
    client = docker.from_env()
    server = client.containers.get(container)
    code, rights = server.exec_run(
        ["/bin/sh", "-c", "while read l; do echo $l; done </proc/1/status"]
    )
    assert code == 0
    fields = dict(line.split(":", 1) for line in rights.decode().splitlines() if ":" in line)
    assert fields["Uid"].split() == ["10001"] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"].strip() == "1"
    made = {
        file: server.exec_run(["/bin/sh", "-c", f"echo x >{file}"]).exit_code == 0
        for file in ("/tmp/x", "/x")
    }
    client.close()
    return made


@pytest.mark.skipif(COMPOSE is None, reason="there is no docker-compose on PATH")
def test_docker_compose_says_that_grafana_needs_a_password() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "GRAFANA_ADMIN_PASSWORD"}
    refused = subprocess.run(
        [str(COMPOSE), "-f", str(DEPLOY / "compose.yaml"), "config"],
        env=environment,
        cwd=DEPLOY.parent,
        capture_output=True,
        text=True,
    )
    assert refused.returncode != 0
    assert "set GRAFANA_ADMIN_PASSWORD, the password of Grafana's user admin" in refused.stderr


def _available(url: str, seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            status = requests.get(f"{url}/v1/models/fashion_mnist", timeout=5).json()
            if any(v["state"] == "AVAILABLE" for v in status["model_version_status"]):
                return True
        except (requests.ConnectionError, requests.Timeout):
            pass
        time.sleep(0.5)
    return False
