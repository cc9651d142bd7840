"""What is deployed fits the official schemas, the server's own parsers, and itself."""

import json
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

DEPLOY = Path(__file__).parents[3] / "serving" / "deploy"
COMPOSE_SCHEMA = Path(__file__).with_name("compose-spec.json")
CONFIGS = ("models.config", "monitoring.config", "batching.config")


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def manifests() -> list[dict[str, Any]]:
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def manifest(kind: str) -> dict[str, Any]:
    (found,) = (document for document in manifests() if document["kind"] == kind)
    return found


def container() -> dict[str, Any]:
    (found,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
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


def test_the_config_map_holds_the_files_word_for_word() -> None:
    assert manifest("ConfigMap")["data"] == {name: (DEPLOY / name).read_text() for name in CONFIGS}


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
    assert volumes["config"]["configMap"]["name"] == manifest("ConfigMap")["metadata"]["name"]
    ports = {port["name"] for port in container()["ports"]}
    assert {port["targetPort"] for port in manifest("Service")["spec"]["ports"]} <= ports


def test_the_model_is_the_one_that_the_pipeline_pushes() -> None:
    config = read_text_proto(DEPLOY / "models.config", model_server_config_pb2.ModelServerConfig())
    check_model_config(config, None)
    (model,) = config.model_config_list.config
    name = Config().serving.model_name
    assert (model.name, model.base_path) == (name, f"/models/{name}")
    assert Config().serving_dir.parts[-2:] == ("serving", name)
    mounts = {mount["mountPath"]: mount for mount in container()["volumeMounts"]}
    assert mounts["/models"]["subPath"] == "serving"


def test_the_metrics_are_scraped_where_they_are_served() -> None:
    monitoring = read_text_proto(DEPLOY / "monitoring.config", MonitoringConfig())
    assert monitoring.prometheus_config.enable
    path = monitoring.prometheus_config.path
    scraping = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    (job,) = scraping["scrape_configs"]
    assert job["metrics_path"] == path
    annotations = manifest("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == path


def test_the_batching_parameters_fit_together() -> None:
    parameters = read_text_proto(DEPLOY / "batching.config", BatchingParameters())
    assert BatchingOptions.from_proto(parameters).max_batch_size == 64
