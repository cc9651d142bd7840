"""Infra validation in real containers, with an image that is built on this machine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.errors import NotFound

from components.infra_validator.blessing import Blessing
from components.infra_validator.validation import validate
from serving.launch import selection
from serving.launch.base import ServerKind
from serving.launch.docker import DockerServer
from serving.launch.ownership import OWNER_VARIABLE, owner_mark
from tests.integration.conftest import free_port
from tests.integration.serving_image import build_image, missing_engine
from tests.tiny_models import GreyClassifier, grey_examples, grey_spec, save

NO_ENGINE = missing_engine()

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(NO_ENGINE is not None, reason=str(NO_ENGINE)),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(GreyClassifier(), tmp_path_factory.mktemp("grey") / "1")


@pytest.fixture(scope="module")
def image(model: Path) -> str:
    return build_image(model.parent, free_port())


@pytest.fixture
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


def own_containers(engine: docker.DockerClient) -> list[str]:
    found = engine.containers.list(all=True, filters={"label": f"{OWNER_VARIABLE}={owner_mark()}"})
    return [container.short_id for container in found]


def try_model(model: Path, image: str, folder: Path, **changes: object) -> Blessing:
    spec = grey_spec(model_server=ServerKind.DOCKER, docker_image=image, work_dir=folder, **changes)
    return validate(model, grey_examples(20), spec, folder / "stamped")


def test_a_sound_model_is_blessed_in_a_container_which_is_gone_afterwards(
    model: Path, image: str, tmp_path: Path, engine: docker.DockerClient
) -> None:
    blessing = try_model(model, image, tmp_path)

    assert blessing.reasons == []
    assert blessing.blessed
    assert blessing.server_choice == f"docker image {image} (asked for)"
    assert blessing.measurements.memory_megabytes
    assert (tmp_path / "stamped" / "saved_model.pb").exists()
    assert own_containers(engine) == []


def test_a_refusal_carries_the_containers_last_lines(
    model: Path, image: str, tmp_path: Path, engine: docker.DockerClient
) -> None:
    broken = Path(shutil.copytree(model, tmp_path / "model"))
    (broken / "variables" / "variables.index").write_bytes(b"broken")

    blessing = try_model(broken, image, tmp_path)

    assert not blessing.blessed
    assert blessing.reasons[0].startswith("docker model server: The ")
    assert "version 1" in " ".join(blessing.server_log), blessing
    assert own_containers(engine) == []


def test_auto_takes_the_image_where_the_engine_has_it(image: str) -> None:
    choice = selection.choose_server(ServerKind.AUTO, image)

    assert choice.kind is ServerKind.DOCKER


def test_auto_goes_on_where_the_engine_does_not_have_the_image() -> None:
    choice = selection.choose_server(ServerKind.AUTO, "tensorflow/serving:no-such-tag")

    assert choice.kind is not ServerKind.DOCKER
    assert "the Docker engine has no image tensorflow/serving:no-such-tag" in choice.why


_START_AND_WAIT = """
import sys, time
from pathlib import Path
from serving.launch.docker import DockerServer
server = DockerServer(sys.argv[1], asked_for=False)
server.start(Path(sys.argv[2]), "grey")
print(server._container.id, flush=True)
time.sleep(100)
"""


def test_the_container_of_a_killed_validation_is_removed_by_the_next_one(
    model: Path, image: str, engine: docker.DockerClient
) -> None:
    killed = subprocess.Popen(
        [sys.executable, "-c", _START_AND_WAIT, image, str(model.parent)],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert killed.stdout is not None
    leftover = killed.stdout.readline().decode().strip()
    killed.kill()
    killed.wait()
    assert engine.containers.get(leftover).status == "running"

    server = DockerServer(image, asked_for=False)
    try:
        server.start(model.parent, "grey")
        with pytest.raises(NotFound):
            engine.containers.get(leftover)
        assert len(own_containers(engine)) == 1
    finally:
        server.stop()
    assert own_containers(engine) == []
