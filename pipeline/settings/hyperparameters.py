"""What training may vary; the `training` section of the settings."""

from enum import StrEnum
from pathlib import Path

from pydantic import Field, PositiveInt, field_validator

from files.paths import resolved
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


class Network(StrEnum):
    """The networks of this project; any other is a function of the user's."""

    CNN = "cnn"
    RESIDUAL = "residual"
    BACKBONE = "backbone"


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
    network: str = Field(
        Network.CNN.value,
        description="cnn, the deeper residual, a backbone of Keras Applications, or a function of "
        "yours as package.module:function",
    )
    backbone: str | None = Field(None, description="its name, such as MobileNetV2")
    weights: Path | None = Field(
        None, description="of the backbone: a local .h5 file as Keras publishes them, without top"
    )
    frozen_epochs: int = Field(
        5, ge=0, description="first epochs, in which a backbone stays as it is; 0: none"
    )
    fine_tuning_rate: float = Field(
        1e-4, gt=0, description="peak of the second one-cycle schedule, of the epochs after these"
    )
    filters: tuple[PositiveInt, ...] = Field(
        (32, 64, 128),
        min_length=1,
        max_length=5,
        description="of each stage; each but the last (residual: each) halves the image",
    )
    convolutions: int = Field(
        2, ge=1, description="in each stage; residual: blocks of two, so half as many"
    )
    dense_units: int = Field(
        128,
        ge=0,
        description="of the cnn's layer before the logits; 0: none, but each channel's mean",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="before the logits")
    random_flip: bool = Field(True, description="mirror about half of the training images")
    random_shift: int = Field(1, ge=0, le=512, description="pixels, along both axes")
    cutout: int = Field(0, ge=0, le=512, description="edge of the blackened square in pixels")
    test_time_flip: bool = Field(
        True, description="the exported model also looks at the mirror image, at twice the cost"
    )
    warm_start: bool = Field(
        False,
        description="from the served model's weights, if it has the same network; of classes that "
        "it does not know, the last layer begins anew",
    )
    seed: int = Field(1, ge=0, lt=2**32 - 1, description="of weights, order and augmentation")
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
        None,
        ge=1,
        le=4096,
        description="of TensorFlow; rounding depends on it; None: one per processor",
    )

    @field_validator("weights")
    @classmethod
    def _wherever_the_run_is_from(cls, file: Path | None) -> Path | None:
        return resolved(file) if file else None
