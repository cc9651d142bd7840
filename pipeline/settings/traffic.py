"""What is recorded of live traffic and judged in it; the `traffic` section of the settings."""

from pathlib import Path

from pydantic import Field

from pipeline.settings.base import Settings


class TrafficSettings(Settings):
    """What is recorded of what clients ask; see docs/howto/traffic.md."""

    sample: float = Field(
        0.0, ge=0, le=1, description="share of the requests at the edge that is recorded; 0: none"
    )
    directory: Path | None = Field(
        None, description="where recordings are; None: traffic/recorded in the workdir"
    )
    max_file_megabytes: int = Field(64, ge=1, description="of one file of a recording")
    max_megabytes: int = Field(
        1024, ge=1, description="of a model's recording; the oldest files make room"
    )
    keep_days: int = Field(
        30, ge=0, description="after which a recording is removed by runs and `clean`; 0: never"
    )
