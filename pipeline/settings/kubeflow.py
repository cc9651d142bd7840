"""What Kubeflow Pipelines is told; the `kubeflow` section of the settings."""

from pydantic import Field

from pipeline.settings.base import Settings


class KubeflowSettings(Settings):
    """What the compiled pipeline finds in the cluster, and where Kubeflow Pipelines answers."""

    image: str = Field("fashion-mnist-pipeline:latest", description="built from the Dockerfile")
    workdir: str = Field(
        "/mnt/fashion-mnist", pattern="^/", description="the workdir inside the containers"
    )
    volume_claim: str | None = Field(
        None, description="PersistentVolumeClaim that is mounted at `kubeflow.workdir`"
    )
    host: str | None = Field(None, description="address of the Kubeflow Pipelines API")
    namespace: str | None = Field(None, description="of the experiment, where users have their own")
    experiment: str | None = Field(
        None, description="that submitted runs belong to; None: it is called as the pipeline"
    )
    pipeline_root: str | None = Field(
        None,
        description="where artifacts go (minio://bucket/path); None: the cluster's default",
    )
