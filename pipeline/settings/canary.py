"""How a version on trial is judged; the `canary` section of the settings."""

from pydantic import Field

from pipeline.settings.base import Settings
from serving.edge.limits import Limits


class CanarySettings(Settings):
    """When a version on trial is promoted or taken back; see docs/howto/canary.md."""

    judge_every_seconds: int = Field(
        0, ge=0, description="`serve --edge` judges a version on trial so often; 0: it does not"
    )
    min_requests: int = Field(1000, ge=100, description="of the canary, before it can be promoted")
    min_predictions: int = Field(
        100,
        ge=0,
        description="of the canary, recorded, before it can be promoted; where nothing is recorded "
        "(traffic.sample), none",
    )
    min_seconds: float = Field(600.0, ge=0, description="of a trial, before it can end well")
    false_alarm: float = Field(
        0.001,
        gt=0,
        lt=1,
        description="chance that a version as good as the other is taken back for its errors, "
        "and the same for its labels",
    )
    max_latency_ratio: float = Field(
        1.5, gt=1, description="of the medians of the model server's time, canary to stable"
    )
    min_slower_milliseconds: float = Field(
        5.0, ge=0, description="of those medians; a smaller difference is never too slow"
    )

    def limits(self, *, records: bool) -> Limits:
        """Returns the same as a judgement takes them, where requests are recorded or not."""
        values = self.model_dump(exclude={"judge_every_seconds"})
        return Limits(**values if records else values | {"min_predictions": 0})
