"""The edge that is deployed fits the official schemas, the command line, and the servers."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import typer
import yaml

from cli.edge import app

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "serving" / "deploy"
KUBECTL = shutil.which("kubectl")


def manifests(path: str = "edge/edge.yaml") -> dict[str, dict[str, Any]]:
    found = yaml.safe_load_all((DEPLOY / path).read_text())
    return {document["kind"]: document for document in found}


def pod() -> dict[str, Any]:
    return manifests()["Deployment"]["spec"]["template"]


def container() -> dict[str, Any]:
    (found,) = pod()["spec"]["containers"]
    return found


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


@pytest.mark.parametrize("kind", manifests())
def test_the_manifests_fit_the_kubernetes_schemas(kind: str) -> None:
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifests()[kind], version, strict=True)


@pytest.mark.parametrize(
    "command", [compose()["edge"]["command"], container()["args"]], ids=["compose", "kubernetes"]
)
def test_the_command_is_one_that_there_is(command: list[str]) -> None:
    assert command[:3] == ["python", "runner.py", "edge"]
    given = [word.replace("${EDGE_SAMPLE:-0}", "0") for word in command[3:]]
    context = typer.main.get_command(app).make_context("edge", given)
    assert context.params["overrides"] == ["traffic.sample=0"]
    assert str(context.params["workdir"]) == "/app/var"
    assert context.params["host"] == "0.0.0.0"


def test_both_stand_before_the_server_that_is_deployed() -> None:
    serving = manifests("kubernetes/serving.yaml")
    ports = {port["name"]: port["port"] for port in serving["Service"]["spec"]["ports"]}
    name = "fashion-mnist-serving"
    assert f"--rest={name}:8501" in container()["args"]
    assert f"--grpc={name}:8500" in container()["args"]
    assert ports["grpc"] == 8500
    assert {"--rest=serving:8501", "--grpc=serving:8500"} <= set(compose()["edge"]["command"])
    assert set(compose()["edge"]["networks"]) & set(compose()["serving"]["networks"])


def test_it_may_ask_the_servers_and_names_and_nobody_else() -> None:
    servers = manifests("kubernetes/network.yaml")["NetworkPolicy"]["spec"]
    (clients,) = servers["ingress"][0]["from"]
    assert clients["podSelector"]["matchLabels"].items() <= pod()["metadata"]["labels"].items()
    to_servers, to_names = manifests()["NetworkPolicy"]["spec"]["egress"]
    assert to_servers["to"] == [{"podSelector": servers["podSelector"]}]
    assert {port["port"] for port in to_names["ports"]} == {53}
    assert all(rule["from"] for rule in manifests()["NetworkPolicy"]["spec"]["ingress"])


def test_the_manifests_refer_to_each_other() -> None:
    labels = manifests()["Deployment"]["spec"]["selector"]["matchLabels"]
    assert labels.items() <= pod()["metadata"]["labels"].items()
    assert manifests()["Service"]["spec"]["selector"] == labels
    assert manifests()["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    claim = manifests("kubernetes/serving.yaml")["PersistentVolumeClaim"]["metadata"]["name"]
    volumes = {volume["name"]: volume for volume in pod()["spec"]["volumes"]}
    assert volumes["models"]["persistentVolumeClaim"]["claimName"] == claim


def test_it_runs_as_a_user_without_rights_and_does_not_write_models() -> None:
    security = container()["securityContext"]
    assert pod()["spec"]["securityContext"]["runAsNonRoot"] is True
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    mounts = {mount["mountPath"]: mount for mount in container()["volumeMounts"]}
    assert mounts["/app/var/serving"]["readOnly"] is True
    assert any(volume.endswith(":/app/var/serving:ro") for volume in compose()["edge"]["volumes"])


def test_its_image_has_nginx() -> None:
    assert "nginx-light" in (ROOT / "Dockerfile").read_text()


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl on PATH")
def test_kubectl_builds_it() -> None:
    built = subprocess.run(
        [str(KUBECTL), "kustomize", str(DEPLOY / "edge")],
        check=True,
        capture_output=True,
        text=True,
    )
    assert {d["kind"] for d in yaml.safe_load_all(built.stdout)} == set(manifests())
