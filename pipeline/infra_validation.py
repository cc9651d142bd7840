"""What a real model server is asked about the model before it is pushed."""

from components.infra_validator.spec import (
    Input,
    Limits,
    Method,
    RecordedRequests,
    SignatureRequest,
    Source,
    ValidationSpec,
)
from data.fit import Fit
from pipeline.modeling.features import IMAGE, LABEL
from pipeline.settings.config import Config


def validation_spec(config: Config) -> ValidationSpec:
    """Builds InfraValidator's specification: every signature, its inputs and the limits."""
    settings = config.infra_validation
    return ValidationSpec(
        model_name=config.serving.model_name,
        requests=_requests(config.serving.default_signature, config.data.fit),
        labels=list(config.data.labels),
        example_features=[IMAGE],
        label_feature=LABEL,
        min_sample_accuracy=settings.min_sample_accuracy,
        model_server=settings.model_server,
        docker_image=settings.docker_image,
        recorded=_recorded(config),
        limits=Limits(
            max_load_seconds=settings.max_load_seconds,
            max_latency_ms=settings.max_latency_ms,
            max_median_latency_ms=settings.max_median_latency_ms,
            max_memory_megabytes=settings.max_memory_megabytes,
            max_model_megabytes=settings.max_model_megabytes,
        ),
    )


def _recorded(config: Config) -> RecordedRequests | None:
    if not config.traffic.replay:
        return None
    return RecordedRequests(
        directory=config.recordings_dir,
        model=config.serving.model_name,
        count=config.traffic.replay,
    )


def _requests(default_signature: str, fit: Fit) -> dict[str, SignatureRequest]:
    example = Input(source=Source.EXAMPLE)
    pixels = Input(source=Source.IMAGE, feature=IMAGE, fit=fit)
    encoded = Input(source=Source.FEATURE, feature=IMAGE)
    classify = SignatureRequest(method=Method.CLASSIFY, inputs={"inputs": example})
    predict_images = SignatureRequest(method=Method.PREDICT, inputs={"images": pixels})
    return {
        "serving_default": predict_images if default_signature == "pixels" else classify,
        "classify": classify,
        "predict_images": predict_images,
        "predict_bytes": SignatureRequest(method=Method.PREDICT, inputs={"image_bytes": encoded}),
        "predict_examples": SignatureRequest(method=Method.PREDICT, inputs={"examples": example}),
    }
