"""The settings as they are inside the containers of a Kubeflow run; imports nothing heavy."""

from pathlib import Path

from pipeline.settings.config import Config
from pipeline.settings.errors import UsageError


def in_cluster(config: Config) -> Config:
    """Returns the settings with the workdir that the containers have.

    Raises:
        UsageError: what is pushed would be lost with the container of the Pusher step.
    """
    inside = config.model_copy(update={"workdir": Path(config.kubeflow.workdir)})
    if not _outlives_container(inside):
        raise UsageError(
            f"a model pushed to {inside.serving_base} would be lost with Kubeflow's container: set "
            "kubeflow.volume_claim and push into kubeflow.workdir, or set push.destination to a "
            "URI such as gs://bucket/models/name"
        )
    return inside


def _outlives_container(config: Config) -> bool:
    if config.pushes_to_uri:
        return not config.serving_base.startswith("file:")
    volume = config.workdir.resolve()
    return bool(config.kubeflow.volume_claim) and config.serving_dir.resolve().is_relative_to(
        volume
    )
