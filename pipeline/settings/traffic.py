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
    report_hours: float | None = Field(
        None,
        gt=0,
        description="a schedule makes a report so often; where it finds drift and spans are new, "
        "it starts a run",
    )
    replay: int = Field(
        0,
        ge=0,
        description="how many of the newest recorded requests a candidate is asked before it is "
        "pushed, and compared on with the served model; 0: none",
    )
    max_distance: float = Field(
        0.08,
        gt=0,
        le=1,
        description="of every feature between traffic and training: Jensen-Shannon divergence in "
        "bits, or change of a label's share; drift where chance does not explain it",
    )
