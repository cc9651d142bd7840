"""What a model must reach to be blessed; the `evaluation` section of the settings."""

from pydantic import Field

from pipeline.settings.base import Settings


class EvaluationSettings(Settings):
    """Evaluator's thresholds, on the test images of the base and on new spans' held-out parts."""

    min_accuracy: float = Field(0.88, ge=0, le=1, description="on the test images of the base")
    min_span_accuracy: float = Field(
        0.8,
        ge=0,
        le=1,
        description="on the newest span's held-out part; missed where chance does not explain it",
    )
    min_class_recall: float = Field(
        0.5, ge=0, le=1, description="share of every class's images that are labelled so"
    )
    min_images: int = Field(
        10, ge=1, description="a held-out part or a class with fewer is reported, not judged"
    )
    max_accuracy_drop: float = Field(0.01, ge=0, le=1, description="against the served model")
    max_calibration_error: float | None = Field(
        None, ge=0, le=1, description="how far scores may be from the share of right answers"
    )
    max_churn: float | None = Field(None, ge=0, le=1, description="share of labels that change")
    max_live_churn: float | None = Field(
        None, ge=0, le=1, description="the same of recorded pictures, if traffic.replay is not 0"
    )
    baseline: bool = Field(True, description="compare with the model being served")
