"""A model server in a container: `tensorflow/serving`, or an image with its entry point."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.addresses import bare_host, join_host_port, reachable_host
from serving.launch.base import (
    FOR_VALIDATION,
    Launch,
    ModelServer,
    ServerMissingError,
)
from serving.launch.engine import check_reach, connect, plain_no
from serving.launch.ownership import (
    OWNER_VARIABLE,
    is_orphaned,
    owner_mark,
)

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

logger = logging.getLogger(__name__)

# An engine that is there answers in milliseconds, unless it is just being started.
_PATIENCE_SECONDS = 5
_PATIENCE_WHEN_ASKED_FOR_SECONDS = 60
_GRPC, _REST = "8500/tcp", "8501/tcp"


class DockerServer(ModelServer):
    """A container with the model's base directory mounted read-only under `/models`."""

    def __init__(self, image: str, *, asked_for: bool, folder: Path | None = None) -> None:
        """Finds the engine and the image.

        Args:
            image: name and tag.
            asked_for: wait for an engine that is slow, and get the image when it is not there.
            folder: that the server must be able to read; None: that is not checked.

        Raises:
            ServerMissingError: no engine answers, the image is not to be had, or the engine does
                not reach the folder.
        """
        patience = _PATIENCE_WHEN_ASKED_FOR_SECONDS if asked_for else _PATIENCE_SECONDS
        if not asked_for and (reason := plain_no(image, patience)):
            raise ServerMissingError(reason)
        from docker.errors import DockerException, ImageNotFound

        self._client: DockerClient = connect(patience)
        self._image = image
        self._container: Container | None = None
        self.description = f"docker image {image}"
        try:
            try:
                self._client.images.get(image)
            except ImageNotFound as error:
                if not asked_for:
                    raise ServerMissingError(f"the Docker engine has no image {image}") from error
                _pull(self._client, image)
            if folder is not None:
                check_reach(self._client, image, folder)
        except ServerMissingError:
            self._client.close()
            raise
        except (DockerException, OSError) as error:
            self._client.close()
            raise ServerMissingError(f"the Docker engine does not answer: {error}") from error

    def start(self, base: Path, model_name: str, launch: Launch = FOR_VALIDATION) -> None:
        from docker.errors import DockerException
        from docker.types import Mount

        target = launch.base_path or f"/models/{model_name}"
        config = (
            [f"--model_config_file={target}/{launch.config_name}"] if launch.config_name else []
        )
        mount = Mount(target, str(base), type="bind", read_only=True)
        try:
            self._remove_orphans()
            # Known before it is started: one that cannot be is there all the same.
            self._container = self._client.containers.create(
                self._image,
                command=[*config, *launch.flags],
                environment={"MODEL_NAME": model_name, "MODEL_BASE_PATH": "/models"},
                mounts=[mount],
                ports={
                    _GRPC: (bare_host(launch.host), launch.grpc_port),
                    _REST: (bare_host(launch.host), launch.rest_port),
                },
                labels={OWNER_VARIABLE: owner_mark()},
            )
            self._container.start()
            self._container.reload()
            self.grpc_address = self._address(_GRPC, launch.host)
            self.rest_url = f"http://{self._address(_REST, launch.host)}"
        except (DockerException, OSError) as error:
            raise ServerMissingError(f"{self.description} could not be started: {error}") from error

    def stop(self) -> None:
        from docker.errors import DockerException

        container, self._container = self._container, None
        if container is not None:
            try:
                container.remove(force=True, v=True)
            except (DockerException, OSError) as error:
                logger.warning("container %s could not be removed: %s", container.short_id, error)
        self._client.close()

    def is_running(self) -> bool:
        from docker.errors import DockerException

        if self._container is None:
            return False
        try:
            self._container.reload()
        except (DockerException, OSError) as error:
            logger.warning("container %s: %s", self._container.short_id, error)
            return False
        return bool(self._container.status in ("created", "running"))

    def log_tail(self, lines: int = 20) -> list[str]:
        from docker.errors import DockerException

        if self._container is None:
            return []
        try:
            return self._container.logs(tail=lines).decode(errors="replace").splitlines()
        except (DockerException, OSError):
            return []

    def memory_megabytes(self) -> float:
        if self._container is None:
            return 0.0
        stats: dict[str, Any] = self._client.api.stats(
            self._container.id or "", stream=False, one_shot=True
        )
        memory = stats.get("memory_stats", {})
        details = memory.get("stats", {})
        # File pages that the kernel can drop at any time are not the server's need.
        cache = details.get("inactive_file", details.get("total_inactive_file", 0))
        return float(memory.get("usage", 0) - cache) / 1e6

    def _address(self, port: str, host: str) -> str:
        if self._container is None:
            raise ServerMissingError("the container is gone")
        bindings = self._container.ports.get(port) or []
        if not bindings:
            raise ServerMissingError(f"{self.description} does not offer port {port}")
        return join_host_port(reachable_host(host), int(bindings[0]["HostPort"]))

    def _remove_orphans(self) -> None:
        from docker.errors import APIError

        # Other validations come and go meanwhile, and remove the same orphans.
        for container in self._client.containers.list(
            all=True, filters={"label": OWNER_VARIABLE}, ignore_removed=True
        ):
            mark = container.labels[OWNER_VARIABLE]
            if is_orphaned(mark):
                with suppress(APIError):
                    container.remove(force=True, v=True)
                    logger.warning("removed container %s, left by %s", container.short_id, mark)


def _pull(client: "DockerClient", image: str) -> None:
    from docker.errors import DockerException

    logger.info("pulling %s", image)
    try:
        last = ""
        for event in client.api.pull(image, stream=True, decode=True):
            if "error" in event:
                raise ServerMissingError(f"image {image} could not be pulled: {event['error']}")
            if event.get("status") and event["status"] != last:
                last = event["status"]
                logger.info("%s: %s", image, last)
    except DockerException as error:
        raise ServerMissingError(f"image {image} could not be pulled: {error}") from error
