"""What is deployed fits the official schemas, the server's own parsers, and itself."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from tensorflow_serving.config import model_server_config_pb2

from pipeline.settings.config import Config
from serving.launch.base import DEFAULT_IMAGE
from serving.model_server.batching import BatchingOptions
from serving.model_server.config import check_model_config, read_text_proto
from serving.model_server.config_protos import BatchingParameters, MonitoringConfig

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "serving" / "deploy"
CONFIG = DEPLOY / "config"
KUBECTL = shutil.which("kubectl")
COMPOSE_SCHEMA = Path(__file__).with_name("compose-spec.json")
CONFIGS = ("models.config", "monitoring.config", "batching.config")


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def manifests() -> list[dict[str, Any]]:
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def manifest(kind: str) -> dict[str, Any]:
    found = [document for document in manifests() if document["kind"] == kind]
    return found[0]


def kustomization() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())


def pod() -> dict[str, Any]:
    return manifest("Deployment")["spec"]["template"]["spec"]


def container() -> dict[str, Any]:
    (found,) = pod()["containers"]
    return found


def test_the_compose_file_fits_the_compose_specification() -> None:
    schema = json.loads(COMPOSE_SCHEMA.read_text())
    jsonschema.Draft7Validator(schema).validate(compose())


def test_the_compose_schema_refuses_what_is_no_compose_file() -> None:
    wrong = compose()
    wrong["services"]["serving"]["prots"] = []
    schema = json.loads(COMPOSE_SCHEMA.read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(wrong)


@pytest.mark.parametrize("document", manifests(), ids=lambda document: document["kind"])
def test_the_manifests_fit_the_kubernetes_schemas(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_every_mounted_file_is_there() -> None:
    for service in compose()["services"].values():
        for volume in service["volumes"]:
            if volume.startswith("./"):
                assert (DEPLOY / volume.partition(":")[0]).exists()


def test_both_serve_with_the_image_that_models_are_validated_with() -> None:
    assert compose()["services"]["serving"]["image"] == f"${{SERVING_IMAGE:-{DEFAULT_IMAGE}}}"
    assert container()["image"] == DEFAULT_IMAGE


def test_both_serve_with_the_same_flags() -> None:
    assert container()["args"] == compose()["services"]["serving"]["command"]


def test_both_ask_for_the_models_status_in_the_same_way() -> None:
    asks = compose()["services"]["serving"]["healthcheck"]["test"][1:]
    assert container()["readinessProbe"]["exec"]["command"] == asks
    assert container()["startupProbe"]["exec"]["command"] == asks


def test_the_kustomization_takes_every_manifest_and_config_file() -> None:
    files = {f"kubernetes/{path.name}" for path in (DEPLOY / "kubernetes").iterdir()}
    assert set(kustomization()["resources"]) == files
    (generator,) = kustomization()["configMapGenerator"]
    assert set(generator["files"]) == {f"config/{name}" for name in CONFIGS}
    assert {path.name for path in CONFIG.iterdir()} == set(CONFIGS)


def test_the_kustomization_is_where_a_digest_is_put() -> None:
    (image,) = kustomization()["images"]
    assert f"{image['name']}:{image['newTag']}" == container()["image"]
    comment = (DEPLOY / "kustomization.yaml").read_text()
    assert f"docker buildx imagetools inspect {DEFAULT_IMAGE}" in comment
    assert "digest: sha256:" in comment


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl on PATH")
def test_kubectl_builds_what_the_kubernetes_schemas_know() -> None:
    built = subprocess.run(
        [str(KUBECTL), "kustomize", str(DEPLOY)], check=True, capture_output=True, text=True
    )
    documents = {}
    for document in yaml.safe_load_all(built.stdout):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
        documents[document["kind"]] = document
    data = documents["ConfigMap"]["data"]
    assert data == {name: (CONFIG / name).read_text() for name in CONFIGS}
    volumes = documents["Deployment"]["spec"]["template"]["spec"]["volumes"]
    (mounted,) = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
    assert mounted == documents["ConfigMap"]["metadata"]["name"]


def test_the_manifests_refer_to_each_other() -> None:
    deployment, pod = manifest("Deployment"), manifest("Deployment")["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert manifest("Service")["spec"]["selector"] == labels
    assert manifest("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    target = manifest("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target["name"] == deployment["metadata"]["name"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert claim == manifest("PersistentVolumeClaim")["metadata"]["name"]
    (generator,) = kustomization()["configMapGenerator"]
    assert volumes["config"]["configMap"]["name"] == generator["name"]
    ports = {port["name"] for port in container()["ports"]}
    assert {port["targetPort"] for port in manifest("Service")["spec"]["ports"]} <= ports


def test_the_model_is_the_one_that_the_pipeline_pushes() -> None:
    config = read_text_proto(CONFIG / "models.config", model_server_config_pb2.ModelServerConfig())
    check_model_config(config, None)
    (model,) = config.model_config_list.config
    name = Config().serving.model_name
    assert (model.name, model.base_path) == (name, f"/models/{name}")
    assert Config().serving_dir.parts[-2:] == ("serving", name)
    mounts = {mount["mountPath"]: mount for mount in container()["volumeMounts"]}
    assert mounts["/models"]["subPath"] == "serving"


def test_the_metrics_are_scraped_where_they_are_served() -> None:
    monitoring = read_text_proto(CONFIG / "monitoring.config", MonitoringConfig())
    assert monitoring.prometheus_config.enable
    path = monitoring.prometheus_config.path
    scraping = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = scraping["scrape_configs"]
    assert job["metrics_path"] == path
    annotations = manifest("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == path


def test_the_batching_parameters_fit_together() -> None:
    parameters = read_text_proto(CONFIG / "batching.config", BatchingParameters())
    assert BatchingOptions.from_proto(parameters).max_batch_size == 64


def test_pods_run_as_a_user_without_rights() -> None:
    security = pod()["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] > 0
    assert security["runAsGroup"] > 0
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"]["allowPrivilegeEscalation"] is False
    assert container()["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_pods_write_nowhere_but_in_tmp() -> None:
    assert container()["securityContext"]["readOnlyRootFilesystem"] is True
    writable = {m["mountPath"] for m in container()["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/tmp"}
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert volumes["tmp"]["emptyDir"]["sizeLimit"]


def test_pods_hold_no_token_of_the_cluster() -> None:
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["enableServiceLinks"] is False


def test_pods_spread_over_nodes_and_zones() -> None:
    labels = manifest("Deployment")["spec"]["selector"]["matchLabels"]
    spread = pod()["topologySpreadConstraints"]
    assert {constraint["topologyKey"] for constraint in spread} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    assert all(constraint["labelSelector"]["matchLabels"] == labels for constraint in spread)


def test_pods_ask_for_what_they_need_and_take_no_more_than_they_may() -> None:
    resources = container()["resources"]
    assert set(resources["requests"]) == set(resources["limits"]) >= {"cpu", "memory"}


def test_a_pod_lives_while_grpc_answers() -> None:
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    assert container()["livenessProbe"]["grpc"]["port"] == ports["grpc"]
    # tensorflow_model_server has the health service only when it is told to.
    assert "--enable_grpc_healthcheck_service=true" in container()["args"]


def test_grpc_does_not_stay_with_one_pod() -> None:
    arguments = [flag for flag in container()["args"] if "grpc_channel_arguments" in flag]
    assert "grpc.max_connection_age_ms=" in arguments[0]
    headless = [m for m in manifests() if m["spec"].get("clusterIP") == "None"]
    assert [service["spec"]["selector"] for service in headless] == [
        manifest("Service")["spec"]["selector"]
    ]


def test_only_clients_and_prometheus_reach_the_pods_and_they_reach_nobody() -> None:
    policy = manifest("NetworkPolicy")["spec"]
    assert policy["podSelector"] == manifest("Deployment")["spec"]["selector"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["egress"] == []
    assert all(rule["from"] for rule in policy["ingress"])
    clients, prometheus = policy["ingress"]
    assert {port["port"] for port in clients["ports"]} == {"grpc", "rest"}
    assert {port["port"] for port in prometheus["ports"]} == {"rest"}


@pytest.mark.parametrize("name", compose()["services"])
def test_containers_run_as_a_user_without_rights(name: str) -> None:
    service = compose()["services"][name]
    assert int(service["user"].partition(":")[0]) > 0
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]


@pytest.mark.parametrize("name", compose()["services"])
def test_containers_write_nowhere_but_in_tmp_and_in_volumes_of_their_own(name: str) -> None:
    service = compose()["services"][name]
    assert service["read_only"] is True
    assert service["tmpfs"] == ["/tmp"]
    for volume in service["volumes"]:
        source = volume.rpartition(":")[0] if volume.endswith(":ro") else volume
        assert volume.endswith(":ro") or source.partition(":")[0] in compose()["volumes"]


@pytest.mark.parametrize("name", compose()["services"])
def test_containers_are_reached_from_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in compose()["services"][name]["ports"])


@pytest.mark.parametrize("name", compose()["services"])
def test_every_image_can_be_given_by_digest(name: str) -> None:
    variable = re.fullmatch(r"\$\{([A-Z_]+):-(.+)\}", compose()["services"][name]["image"])
    assert variable is not None
    example = (DEPLOY / "env.example").read_text()
    assert f"#{variable[1]}={variable[2]}\n" in example
    assert "docker buildx imagetools inspect" in example


def test_config_folders_are_mounted_instead_of_files() -> None:
    """A mounted file goes on being the old one when an editor renames a new one over it."""
    for service in compose()["services"].values():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert not source.startswith("./") or (DEPLOY / source).is_dir(), volume
    assert all("subPath" not in m for m in container()["volumeMounts"] if m["name"] == "config")


def test_grafana_has_no_password_that_everybody_knows() -> None:
    environment = compose()["services"]["grafana"]["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_ADMIN_PASSWORD:?set ")
    assert "GRAFANA_ADMIN_PASSWORD=\n" in (DEPLOY / "env.example").read_text()


def test_grafana_does_not_reach_the_model_server() -> None:
    services = compose()["services"]
    assert not set(services["grafana"]["networks"]) & set(services["serving"]["networks"])


def test_the_alert_on_load_errors_fires_on_the_first_error() -> None:
    """A counter begins with its first failure: `increase` alone sees only the second."""
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"][0]["rules"]
    (alert,) = (rule for rule in rules if rule["alert"] == "ModelVersionDoesNotLoad")
    failures = r':tensorflow:cc:saved_model:load_attempt_count\{status!="success"\}'
    assert re.search(rf"or \({failures}\s+unless {failures} offset 10m\)", alert["expr"])


def test_the_image_of_the_steps_runs_as_a_user_who_can_write_only_what_runs_write() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    (user,) = (line.split()[1] for line in lines if line.startswith("USER "))
    assert int(user.partition(":")[0]) > 0
    assert lines.index(f"USER {user}") > lines.index("COPY . .")
    assert "VOLUME /app/var" in lines
    assert not any("chown" in line for line in lines)
