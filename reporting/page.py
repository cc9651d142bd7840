"""What a report shows, as data: `collect` fills it in, `render` turns it into HTML.

A section that the run did not reach is None or empty.
"""

from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, Field

from runs.exit_status import NodeState, Status
from runs.result import RunResult

EVERYWHERE = "all images"


class PicturedNode(BaseModel):
    """A node in the picture of the pipeline.

    Attributes:
        column: the least number of nodes that run before it.
        row: its place among the nodes of its column; 0 is the middle.
        upstream: the nodes it waits for, without those that another of them already waits for.
    """

    id: str
    state: NodeState
    seconds: float
    column: int
    row: float
    upstream: list[str] = Field(default_factory=list)


class Bucket(BaseModel):
    """A bar of a histogram: how many values lie between two bounds."""

    low: float
    high: float
    count: float


class OriginStatistics(BaseModel):
    """What StatisticsGen counted in the part of a split that has one origin.

    Attributes:
        split: `train`, `validation` or `eval`.
        origin: `base` or `span-N`.
        examples: how many images.
        classes: how many of each label.
        brightness_mean: mean over the images of an image's mean pixel, 0 to 255.
        brightness_deviation: its standard deviation.
        brightness: its histogram.
    """

    split: str
    origin: str
    examples: int
    classes: dict[str, int]
    brightness_mean: float
    brightness_deviation: float
    brightness: list[Bucket]


class Drift(BaseModel):
    """How far a feature of the newest training data is from that of the served model's."""

    feature: str
    measure: str
    distance: float
    limit: float

    @property
    def exceeded(self) -> bool:
        """Whether it is too far."""
        return self.distance > self.limit


class Sample(BaseModel):
    """Some training images of a class, side by side in one PNG."""

    label: str
    images: int
    png: bytes


class Data(BaseModel):
    """What the run trained and evaluated on.

    Attributes:
        spans: the spans that were read; empty when the base set alone was read.
        statistics: by split and origin.
        served: statistics of the data that the served model was trained on.
        samples: a few training images of each class.
    """

    spans: list[int] = Field(default_factory=list)
    statistics: list[OriginStatistics] = Field(default_factory=list)
    served: OriginStatistics | None = None
    samples: list[Sample] = Field(default_factory=list)

    @property
    def compared(self) -> list[tuple[str, OriginStatistics]]:
        """The named parts of the training data to draw over each other, the served model's last."""
        parts = [(part.origin, part) for part in self.statistics if part.split == "train"][-3:]
        if parts and self.served:
            parts.append(("of the served model", self.served))
        return [(name, part) for name, part in parts if part.brightness]


class SchemaFeature(BaseModel):
    """What the curated schema requires of a feature."""

    name: str
    type: str
    rules: list[str]


class Checks(BaseModel):
    """What was required of the data, and what was found; None: not checked.

    Attributes:
        schema_features: the schema.
        anomalies: violations of the schema, a sentence each.
        drift: the distances to the served model's training data; empty without such a model.
        drift_findings: the distances that exceed their limits, a sentence each.
    """

    schema_features: list[SchemaFeature] = Field(default_factory=list)
    anomalies: list[str] | None = None
    drift: list[Drift] = Field(default_factory=list)
    drift_findings: list[str] | None = None


class Epoch(BaseModel):
    """One line of Trainer's history; accuracies 0 to 1."""

    number: int
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float


class Training(BaseModel):
    """How the training went."""

    epochs: list[Epoch]
    hyperparameters: dict[str, str] = Field(default_factory=dict)


class Metric(BaseModel):
    """One of Evaluator's metrics, with its thresholds.

    Attributes:
        name: TFMA's name of the metric.
        where: the images it was computed on: `all images`, or an origin.
        value: the candidate's.
        baseline: the served model's, when there is one.
        interval: the 95 % confidence interval of `value`, if it is a share of the images.
        thresholds: in words.
        missed: whether Evaluator found that the value misses a threshold.
    """

    name: str
    where: str = EVERYWHERE
    value: float
    baseline: float | None = None
    interval: tuple[float, float] | None = None
    thresholds: list[str] = Field(default_factory=list)
    missed: bool = False

    @property
    def change(self) -> float | None:
        """By how much the candidate's value is above the served model's."""
        return None if self.baseline is None else self.value - self.baseline


class ClassMetrics(BaseModel):
    """Evaluator's numbers for one class against all others."""

    label: str
    images: int
    metrics: dict[str, Metric]

    @property
    def precision(self) -> Metric | None:
        """None for a class without evaluated images, as the other two."""
        return self.metrics.get("precision")

    @property
    def recall(self) -> Metric | None:
        """The metric that has a threshold."""
        return self.metrics.get("recall")

    @property
    def auc(self) -> Metric | None:
        """The area under the ROC curve."""
        return self.metrics.get("auc")


@dataclass(frozen=True)
class ConfusionCell:
    """A number of images, and which share of those of the true class it is."""

    images: int
    share: float
    is_right: bool

    @property
    def css_class(self) -> str:
        """How it is coloured."""
        if self.is_right:
            return "right"
        return "wrong" if self.images else "none"


class Quality(BaseModel):
    """How good the model is, according to Evaluator.

    Attributes:
        overall: on all evaluated images, and by origin.
        classes: on all evaluated images.
        confusion_matrix: number of images by true (row) and predicted (column) class.
        has_baseline: whether the served model was evaluated too.
    """

    overall: list[Metric]
    classes: list[ClassMetrics]
    confusion_matrix: list[list[int]] = Field(default_factory=list)
    has_baseline: bool = False

    @property
    def matrix_rows(self) -> list[tuple[str, list[ConfusionCell]]]:
        """The rows of the confusion matrix with their labels."""
        return [
            (
                self.classes[row].label,
                [
                    ConfusionCell(images, images / (sum(counts) or 1), is_right=row == column)
                    for column, images in enumerate(counts)
                ],
            )
            for row, counts in enumerate(self.confusion_matrix)
        ]

    @property
    def accuracy(self) -> Metric | None:
        """On all evaluated images."""
        return self._on_all_images("sparse_categorical_accuracy")

    @property
    def calibration_error(self) -> Metric | None:
        """On all evaluated images."""
        return self._on_all_images("expected_calibration_error")

    def _on_all_images(self, name: str) -> Metric | None:
        wanted = (name, EVERYWHERE)
        return next((each for each in self.overall if (each.name, each.where) == wanted), None)


class CalibrationBin(BaseModel):
    """The images whose predicted class has a probability between two bounds."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


class Mistake(BaseModel):
    """A misclassified image, and the probability that the model gave the predicted class."""

    png: bytes
    truth: str
    predicted: str
    probability: float


class Answers(BaseModel):
    """The model's predictions for evaluated images.

    Attributes:
        images: how many were predicted.
        evaluated: how many Evaluator used; more than `images` if only a part was predicted.
        wrong: how many were misclassified.
        calibration: the bins that are not empty, ascending.
        mistakes: the most confident ones first.
    """

    images: int
    evaluated: int
    wrong: int
    calibration: list[CalibrationBin]
    mistakes: list[Mistake]


class SignatureLatency(BaseModel):
    """Round-trip times of one signature, one image a request, in milliseconds."""

    signature: str
    p50_ms: float
    p99_ms: float


class InfraValidation(BaseModel):
    """What infra validation found out about the model.

    Attributes:
        blessed: whether the model may be pushed.
        server: `docker`, `binary` or `embedded`.
        server_choice: why this server was chosen, and its version or image.
        measured: what was measured, as pairs of name and value with its unit.
        limits: the most that was allowed, in words.
        latency: by signature.
        server_log: the server's last lines, if the model was refused.
    """

    blessed: bool
    server: str
    server_choice: str
    measured: dict[str, str] = Field(default_factory=dict)
    limits: list[str] = Field(default_factory=list)
    latency: list[SignatureLatency] = Field(default_factory=list)
    server_log: list[str] = Field(default_factory=list)


class ReadSpan(BaseModel):
    """A span that the run read, or the base set, with the SHA-256 of its files."""

    span: int | str
    images: int
    sha256: str

    @property
    def name(self) -> str:
        """What people call it."""
        return f"span {self.span}" if isinstance(self.span, int) else self.span


class LineageStep(BaseModel):
    """An artifact that the run made or used.

    Attributes:
        artifact: its id in the metadata.
        type: its TFX type.
        node: the node that made it.
        run_id: the run that made it; an earlier run if it came from the cache.
        made_from: ids of the artifacts that went into it.
        uri: where it is.
    """

    artifact: int
    type: str
    node: str
    run_id: str
    made_from: list[int]
    uri: str


class Push(BaseModel):
    """What Pusher did with the model.

    Attributes:
        verdict: `pushed`, `up_to_date`, ...
        directory: where the version is.
        pushed_at: None if the version's record is gone.
        record: further entries of the version's record, as pairs of name and value.
        checksums: SHA-256 of every pushed file.
    """

    verdict: str
    version: int | None
    directory: str | None
    pushed_at: datetime | None = None
    record: dict[str, str] = Field(default_factory=dict)
    checksums: dict[str, str] = Field(default_factory=dict)


class EarlierRun(BaseModel):
    """A run in a list; `page` is the relative address of its report, if it has one."""

    run_id: str
    started_at: datetime
    seconds: float | None
    status: Status
    version: int | None
    accuracy: float | None
    reasons: list[str]
    page: str | None

    @property
    def is_bad(self) -> bool:
        """Whether somebody should look at it."""
        return self.status.is_refusal or self.status is Status.FAILED


class Page(BaseModel):
    """A run's report.

    Attributes:
        result: what the run did.
        nodes: the picture of the pipeline.
        spans: the spans that were read.
        lineage: all artifacts of the run, in the order they were made.
        earlier: earlier runs, newest first.
        baseline_page: relative address of the report of the run that made the served model.
        notes: what could not be shown, a sentence each.
    """

    result: RunResult
    nodes: list[PicturedNode] = Field(default_factory=list)
    data: Data | None = None
    checks: Checks | None = None
    training: Training | None = None
    quality: Quality | None = None
    answers: Answers | None = None
    infra_validation: InfraValidation | None = None
    push: Push | None = None
    spans: list[ReadSpan] = Field(default_factory=list)
    lineage: list[LineageStep] = Field(default_factory=list)
    earlier: list[EarlierRun] = Field(default_factory=list)
    baseline_page: str | None = None
    notes: list[str] = Field(default_factory=list)


class ListedVersion(BaseModel):
    """A version of the model in the history.

    Attributes:
        state: `present`, `rolled_back`, `pruned`, ...
        megabytes: size of the SavedModel without warmup records.
        latency: of the default signature.
        page: relative address of the report of the run that made it.
    """

    version: int
    state: str
    pushed_at: datetime
    run_id: str
    spans: list[int]
    accuracy: float | None = None
    megabytes: float | None = None
    latency: SignatureLatency | None = None
    page: str | None = None


class HistoryPage(BaseModel):
    """The newest versions, oldest first, and the newest runs, newest first, of a workdir.

    Attributes:
        older_versions: how many there are that are not in `versions`.
        older_runs: how many there are that are not in `runs`.
    """

    model_name: str
    versions: list[ListedVersion]
    runs: list[EarlierRun]
    older_versions: int = 0
    older_runs: int = 0
