"""What a report shows, as data: `collect` fills it in, `render` turns it into HTML.

A section that the run did not come to is None or empty.
"""

from datetime import datetime

from pydantic import BaseModel, Field

from runs.result import NodeState, RunResult, Status


class PicturedNode(BaseModel):
    """A node in the picture of the pipeline.

    Attributes:
        column: how many nodes come before it at least, from 0.
        row: its place among the nodes of its column, 0 being the middle.
        upstream: the nodes it waits for, without those that others of them wait for already.
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
    """How far the newest training data is from that of the served model, in one feature."""

    feature: str
    measure: str
    distance: float
    limit: float


class Sample(BaseModel):
    """Some training images of a class, side by side in one PNG."""

    label: str
    images: int
    png: bytes


class Data(BaseModel):
    """What the run trained and evaluated on.

    Attributes:
        spans: the spans that were read; empty when it was the official images alone.
        statistics: by split and origin.
        served: statistics of the data that the served model was trained on.
        samples: a few training images of each class.
    """

    spans: list[int] = Field(default_factory=list)
    statistics: list[OriginStatistics] = Field(default_factory=list)
    served: OriginStatistics | None = None
    samples: list[Sample] = Field(default_factory=list)


class SchemaFeature(BaseModel):
    """What the curated schema asks of a feature."""

    name: str
    type: str
    rules: list[str]


class Checks(BaseModel):
    """What was asked of the data, and what was found; None: not checked.

    Attributes:
        schema_features: the schema.
        anomalies: what is against the schema, a sentence each.
        drift: the distances to the served model's training data; empty without such a model.
        drift_findings: the distances over their limits, a sentence each.
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
    """One number of Evaluator's, with what is asked of it.

    Attributes:
        name: TFMA's name of the metric.
        where: the images it was computed on: `all images`, or an origin.
        value: the candidate's.
        baseline: the served model's, when there is one.
        limits: what is required, in words.
        missed: whether Evaluator found it to be against a limit.
    """

    name: str
    where: str = "all images"
    value: float
    baseline: float | None = None
    limits: list[str] = Field(default_factory=list)
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


class Quality(BaseModel):
    """How good the model is, by Evaluator.

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


class CalibrationBin(BaseModel):
    """The images that were labelled with a probability between two bounds."""

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


class Mistake(BaseModel):
    """An image with a wrong label, and the probability that the model gave that label."""

    png: bytes
    truth: str
    predicted: str
    probability: float


class Answers(BaseModel):
    """The model's own answers on evaluated images.

    Attributes:
        images: how many it was asked about.
        evaluated: how many Evaluator used; more, when only a part was asked about.
        wrong: how many it labelled wrongly.
        calibration: bins that hold any image, ascending.
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
    """What the model server made of the model.

    Attributes:
        blessed: whether it may be pushed.
        server: `docker`, `binary` or `embedded`.
        server_choice: why that one, and which version or image.
        measured: what was measured, as pairs of name and value with its unit.
        limits: what was required.
        latency: by signature.
        server_log: its last lines, when it refused.
    """

    blessed: bool
    server: str
    server_choice: str
    measured: dict[str, str] = Field(default_factory=dict)
    limits: list[str] = Field(default_factory=list)
    latency: list[SignatureLatency] = Field(default_factory=list)
    server_log: list[str] = Field(default_factory=list)


class LineageStep(BaseModel):
    """An artifact that the run made or used.

    Attributes:
        artifact: its id in the metadata.
        type: its TFX type.
        node: the node that made it.
        run_id: the run that made it; another one's when it came from the cache.
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
        pushed_at: None when its record is gone.
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


class Page(BaseModel):
    """A run's report.

    Attributes:
        result: what the run did.
        nodes: the picture of the pipeline.
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
    """All versions, oldest first, and the newest runs, newest first, of a workdir."""

    model_name: str
    versions: list[ListedVersion]
    runs: list[EarlierRun]
