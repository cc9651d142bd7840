"""What of past runs stays in the workdir; the `retention` section of the settings."""

from pydantic import Field

from pipeline.settings.base import Settings


class RetentionSettings(Settings):
    """What is kept; see docs/howto/small_workdir.md."""

    runs: int = Field(
        20,
        ge=0,
        description="newest runs whose results, logs, reports and artifacts stay, beside the runs "
        "of versions that are in the serving directory; 0: all",
    )
