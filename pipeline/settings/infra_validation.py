"""What a model server must show of a model; the `infra_validation` section of the settings."""

from pydantic import Field

from pipeline.settings.base import Settings
from serving.launch.base import DEFAULT_IMAGE, ServerKind


class InfraValidationSettings(Settings):
    """Which model server tries the model, and what it must keep to."""

    model_server: ServerKind = Field(
        ServerKind.AUTO, description="auto: the first of docker, binary, embedded that is there"
    )
    docker_image: str = Field(DEFAULT_IMAGE, description="what `docker` runs")
    min_sample_accuracy: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of right answers to the requests, which tells a model from a guess",
    )
    max_load_seconds: float = Field(120.0, gt=0, description="until the model is AVAILABLE")
    max_latency_ms: float | None = Field(None, gt=0, description="99th percentile, one image")
    max_median_latency_ms: float | None = Field(None, gt=0, description="one image")
    max_memory_megabytes: float | None = Field(None, gt=0, description="of the server")
    max_model_megabytes: float | None = Field(None, gt=0, description="of the model's files")
