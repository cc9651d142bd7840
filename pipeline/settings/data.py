"""Which images are read, and what their classes are called; the `data` section of the settings."""

from pathlib import Path

from pydantic import Field, field_validator

from data.fit import Fit
from pipeline.modeling.features import CLASS_LABELS, IMAGE_SIZE, Color
from pipeline.settings.base import Settings


class DataSettings(Settings):
    """Where the images come from and which of them a run reads."""

    source: Path | None = Field(None, description="folder that holds the four official files")
    sample: bool = Field(False, description="train on the small sample in the repository")
    root: Path | None = Field(
        None,
        description="a folder with `base/` and `spans/` that is taken as it is, before `sample`"
        " and the workdir's; its official files are yours to provide",
    )
    labels: tuple[str, ...] = Field(
        CLASS_LABELS,
        min_length=2,
        max_length=256,
        description="names of the classes, in the order of the label integers in the files",
    )
    image_size: int = Field(
        IMAGE_SIZE, ge=8, le=512, description="height and width of what the network sees, in pixels"
    )
    color: Color = Field(Color.GREY, description="what the network sees of a picture's colours")
    fit: Fit = Field(
        Fit.SQUASH,
        description="what becomes of a picture that is not square; pad: black on both sides",
    )
    schema_file: Path | None = Field(
        None, description="the curated schema, as text; None: pipeline/schema/schema.pbtxt"
    )
    include_base: bool = Field(
        True, description="train on the base set and the spans; false: on spans alone, if any"
    )
    span_weight: int = Field(
        1, ge=1, le=1000, description="how often an epoch sees an image of a span, the base's once"
    )
    window: int = Field(0, ge=0, description="how many of the newest spans to train on; 0: all")
    stop_on_drift: bool = Field(True, description="drift ends the run; otherwise it is reported")

    @field_validator("labels")
    @classmethod
    def _all_different(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) < len(labels) or "" in labels:
            raise ValueError("every class needs a name of its own")
        return labels
