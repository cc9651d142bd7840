"""The compiled YAML is one that the open-source backend takes, and says what the pipeline says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp import components

from orchestration.kubeflow.compiler import compile_kubeflow
from orchestration.kubeflow.package import name_of
from pipeline.fingerprint import NODES
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT

Document = dict[str, Any]


@pytest.fixture(scope="module")
def config() -> Config:
    return load_config("smoke", overrides=["kubeflow.volume_claim=fashion"])


@pytest.fixture(scope="module")
def package(config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_kubeflow(config, tmp_path_factory.mktemp("kubeflow"))


@pytest.fixture(scope="module")
def documents(package: Path) -> list[Document]:
    return list(yaml.safe_load_all(package.read_text()))


@pytest.fixture(scope="module")
def spec(documents: list[Document]) -> Document:
    return documents[0]


@pytest.fixture(scope="module")
def tasks(spec: Document) -> Document:
    found: Document = spec["root"]["dag"]["tasks"]
    return found


def containers(spec: Document) -> list[Document]:
    return [executor["container"] for executor in spec["deploymentSpec"]["executors"].values()]


def test_the_schema_version_is_the_one_that_the_backend_takes(spec: Document) -> None:
    assert spec["schemaVersion"] == "2.1.0"


def test_names_are_such_as_the_backend_takes(spec: Document, tasks: Document) -> None:
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,127}", spec["pipelineInfo"]["name"])
    assert all(re.fullmatch(r"[A-Za-z0-9-]+", task) for task in tasks)


def test_kfp_reads_it(package: Path, spec: Document) -> None:
    component = components.load_component_from_file(str(package))
    assert component.name == spec["pipelineInfo"]["name"]


def test_every_node_is_there_infra_validator_included(tasks: Document) -> None:
    assert set(tasks) == set(NODES)


def test_every_task_follows_those_whose_outputs_it_reads(tasks: Document) -> None:
    for task in tasks.values():
        producers = {
            entry["taskOutputArtifact"]["producerTask"]
            for entry in task["inputs"].get("artifacts", {}).values()
        }
        assert producers <= set(task.get("dependentTasks", []))
    assert "AnomalyGate" in tasks["Transform"]["dependentTasks"]


def test_every_step_is_a_container_of_the_image_with_our_entry(
    spec: Document, config: Config
) -> None:
    assert len(containers(spec)) == len(NODES)
    for container in containers(spec):
        assert container["image"] == config.kubeflow.image
        assert container["command"] == ["python", "-m", "orchestration.kubeflow"]
        # kfp's local runner replaces that text wherever it finds it.
        assert "python3" not in json.dumps(container)


def test_what_depends_on_folders_outside_is_never_cached(tasks: Document) -> None:
    uncached = {name for name, task in tasks.items() if "cachingOptions" not in task}
    assert uncached == {"IdxExampleGen", "ServedModel", "Pusher"}


def test_no_path_of_this_machine_is_left(package: Path, tasks: Document) -> None:
    assert str(ROOT) not in package.read_text()
    parameters = tasks["ImportSchemaGen"]["inputs"]["parameters"]
    schema = parameters["schema_file"]["runtimeValue"]["constant"]
    assert schema == "/app/pipeline/schema/schema.pbtxt"
    parameters = tasks["Pusher"]["inputs"]["parameters"]
    destination = parameters["destination"]["runtimeValue"]["constant"]
    assert destination == "/mnt/fashion-mnist/serving/fashion_mnist"


def test_no_fingerprint_of_data_that_may_change_is_compiled_in(tasks: Document) -> None:
    assert "run_fingerprint" not in tasks["Pusher"]["inputs"]["parameters"]


def test_the_volume_is_mounted_in_every_step(documents: list[Document], spec: Document) -> None:
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(executors) == set(spec["deploymentSpec"]["executors"])
    for executor in executors.values():
        (mount,) = executor["pvcMount"]
        assert mount["mountPath"] == "/mnt/fashion-mnist"
        assert mount["pvcNameParameter"]["runtimeValue"]["constant"] == "fashion"


def test_two_models_are_two_pipelines(tmp_path: Path) -> None:
    names = set()
    for model in ("a_b", "a-b"):
        overrides = ["kubeflow.volume_claim=fashion", f"serving.model_name={model}"]
        package = compile_kubeflow(load_config("smoke", overrides=overrides), tmp_path)
        names.add(name_of(package))
        assert package.name == f"{name_of(package)}.yaml"
    assert len(names) == len(list(tmp_path.glob("*.yaml"))) == 2


def test_compiling_again_gives_the_same_bytes(package: Path, config: Config) -> None:
    before = package.read_bytes()
    assert compile_kubeflow(config, package.parent).read_bytes() == before
