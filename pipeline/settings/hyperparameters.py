"""What training may vary; the `training` section of the settings."""

from enum import StrEnum

from pydantic import Field, PositiveInt

from pipeline.settings.base import Settings


class Precision(StrEnum):
    """The arithmetic of training; what is exported is float32 in every case."""

    AUTO = "auto"
    FLOAT32 = "float32"
    MIXED_BFLOAT16 = "mixed_bfloat16"


class Stream(StrEnum):
    """Whether training reads its images from disk."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Optimizer(StrEnum):
    """How the weights follow their gradients."""

    ADAMW = "adamw"
    MUON = "muon"


class Hyperparameters(Settings):
    """One training run, reproducible from these values, the data and the code.

    With a warm start, from the model that is being served as well.
    """

    epochs: int = Field(16, ge=1, description="passes over the training images")
    batch_size: int = Field(256, ge=1, description="images in a step")
    optimizer: Optimizer = Field(
        Optimizer.ADAMW, description="muon: of the convolutions; the other weights keep to adamw"
    )
    learning_rate: float = Field(0.01, gt=0, description="peak of the one-cycle schedule")
    warmup_fraction: float = Field(0.1, ge=0, lt=1, description="share of all steps that warm up")
    weight_decay: float = Field(0.04, ge=0, description="of the optimizer")
    label_smoothing: float = Field(
        0.2, ge=0, lt=1, description="share of the label that all classes get evenly"
    )
    ema_momentum: float = Field(
        0.0, ge=0, lt=1, description="momentum of the moving average that is exported; 0: none"
    )
    filters: tuple[PositiveInt, ...] = Field(
        (32, 64, 128),
        min_length=1,
        max_length=5,
        description="of each stage; each but the last halves the image, at most four times",
    )
    convolutions: int = Field(2, ge=1, description="in each stage")
    dense_units: int = Field(
        128, ge=0, description="of the layer before the logits; 0: none, but each channel's mean"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="before the logits")
    random_flip: bool = Field(True, description="mirror about half of the training images")
    random_shift: int = Field(1, ge=0, description="pixels, along both axes")
    cutout: int = Field(0, ge=0, le=512, description="edge of the blackened square in pixels")
    test_time_flip: bool = Field(
        True, description="the exported model also looks at the mirror image, at twice the cost"
    )
    warm_start: bool = Field(
        False, description="from the served model's weights, if it has the same architecture"
    )
    seed: int = Field(1, ge=0, description="of weights, order and augmentation")
    precision: Precision = Field(
        Precision.AUTO,
        description="of training; auto: bfloat16 where processor or GPU is the faster for it",
    )
    stream: Stream = Field(
        Stream.AUTO,
        description="read the images from disk in each epoch, not from memory; the result is the "
        "same; auto: where a split would take more than an eighth of the memory",
    )
    threads: int | None = Field(
        None, ge=1, description="of TensorFlow; rounding depends on it; None: one per processor"
    )
