"""What a traffic report says, as it is kept and handed on; imports nothing heavy."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, Field

from files.kept import read_kept


class FeatureDrift(BaseModel):
    """How far a feature of traffic is from training.

    Attributes:
        feature: its name.
        distance: Jensen-Shannon divergence in bits; for labels, the largest change of a share.
        limit: what is allowed.
        drift: whether it is further, and chance does not explain that.
        probability: of such a distance by chance; None: it is within the limit, nobody asked.
    """

    feature: str
    distance: float
    limit: float
    drift: bool
    probability: float | None = None


class VariantTraffic(BaseModel):
    """What one variant answered.

    Attributes:
        variant: `stable` or `canary`.
        versions: that answered in its name.
        requests: by the edge's access log; without one, the recorded requests.
        errors: answers that were no prediction, but for those that the edge refused; None: there
            is no access log.
        p50_ms: median of the server's part of the time; None: there is no access log.
        p99_ms: its 99th percentile.
        pictures: that were recorded.
        confidence: mean probability of the label that was answered; None: no answer is known.
    """

    variant: str
    versions: list[int] = Field(default_factory=list)
    requests: int
    errors: int | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    pictures: int = 0
    confidence: float | None = None


class LiveAccuracy(BaseModel):
    """How often a version was right, by the labels that came later."""

    version: int
    labelled: int
    right: int

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1."""
        return self.right / self.labelled


class TrafficReport(BaseModel):
    """What came in, how far it is from training, and who answered it how.

    Attributes:
        at: when the report was made.
        model: the model's name.
        version: the served version whose training data traffic is compared with.
        compared_with: the part of it that traffic is most like: all of it, the base set, a span.
        pictures: how many were compared.
        since: when the first of them was asked.
        until: when the last was.
        drift: whether a feature is further away than chance and the limit allow.
        reasons: a sentence for each feature that is, or why nothing could be compared.
        features: those that drifted first.
        variants: the stable one first.
        accuracy: by version, of those pictures whose label is known.
        page: where the report is shown.
    """

    at: AwareDatetime
    model: str
    version: int | None = None
    compared_with: str | None = None
    pictures: int = 0
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    drift: bool = False
    reasons: list[str] = Field(default_factory=list)
    features: list[FeatureDrift] = Field(default_factory=list)
    variants: list[VariantTraffic] = Field(default_factory=list)
    accuracy: list[LiveAccuracy] = Field(default_factory=list)
    page: Path | None = None

    @property
    def file_name(self) -> str:
        """Under which the report is kept."""
        return f"{self.at:%Y%m%d-%H%M%S-%f}.json"


def kept_reports(folder: Path) -> Iterator[TrafficReport]:
    """Yields the reports in a folder, newest first; a damaged file is passed over."""
    for path in sorted(folder.glob("*.json"), reverse=True):
        if (report := read_kept(path, TrafficReport.model_validate_json)) is not None:
            yield report
