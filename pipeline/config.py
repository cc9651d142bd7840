"""Every setting of the project: one validated object from a preset, a TOML file and flags."""

import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from components.infra_validator.spec import DEFAULT_IMAGE, ServerKind
from pipeline.errors import UsageError
from pipeline.features import CLASS_LABELS
from pipeline.hyperparameters import Hyperparameters
from pipeline.search_space import TuningSettings
from pipeline.settings import Settings
from pipeline.thresholds import EvaluationSettings

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_WORKDIR = ROOT / "var"
SAMPLE_DATA = ROOT / "data" / "sample"
SCHEMA_FILE = ROOT / "pipeline" / "schema" / "schema.pbtxt"


class Preset(StrEnum):
    """Ready-made settings, from first contact to the most accurate model."""

    SMOKE = "smoke"
    DEFAULT = "default"
    BEST = "best"


class DataSettings(Settings):
    """Where the images come from and which of them a run reads."""

    source: Path | None = Field(None, description="folder that holds the four official files")
    sample: bool = Field(False, description="train on the small sample in the repository")
    root: Path | None = Field(
        None,
        description="a folder with `official/` and `spans/` that is taken as it is, before `sample`"
        " and the workdir's; its official files are yours to provide",
    )
    labels: tuple[str, ...] = Field(
        CLASS_LABELS,
        min_length=2,
        max_length=256,
        description="names of the classes, in the order of the label integers in the files",
    )
    schema_file: Path | None = Field(
        None, description="the curated schema, as text; None: pipeline/schema/schema.pbtxt"
    )
    window: int = Field(1, ge=1, description="how many of the newest spans to train on")
    stop_on_drift: bool = Field(True, description="drift ends the run; otherwise it is reported")

    @field_validator("labels")
    @classmethod
    def _all_different(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) < len(labels) or "" in labels:
            raise ValueError("every class needs a name of its own")
        return labels


class InfraValidationSettings(Settings):
    """Which model server tries the model, and what it must keep to."""

    model_server: ServerKind = Field(
        ServerKind.AUTO, description="auto: the first of docker, binary, embedded that is there"
    )
    docker_image: str = Field(DEFAULT_IMAGE, description="what `docker` runs")
    max_load_seconds: float = Field(120.0, gt=0, description="until the model is AVAILABLE")
    max_latency_ms: float | None = Field(None, gt=0, description="99th percentile, one image")
    max_median_latency_ms: float | None = Field(None, gt=0, description="one image")
    max_memory_megabytes: float | None = Field(None, gt=0, description="of the server")
    max_model_megabytes: float | None = Field(None, gt=0, description="of the model's files")


class PushSettings(Settings):
    """The versioned serving directory."""

    destination: str | None = Field(
        None,
        min_length=1,
        description="the model's base path: a folder, or a URI that TensorFlow reaches, such as "
        "gs://bucket/models/name; None: serving/NAME in the workdir",
    )
    keep: int = Field(5, ge=2, description="versions kept beside those served or labelled")
    fail_when_refused: bool = Field(False, description="a refused model fails the Pusher node")
    live_server: str | None = Field(
        None, description="http://host:port of a server that must come to serve the version"
    )
    live_timeout_seconds: float = Field(60.0, gt=0, description="how long that may take")


class ServingSettings(Settings):
    """What clients of the pushed model see."""

    model_name: str = Field(
        "fashion_mnist", pattern=r"^[A-Za-z0-9_.-]+$", description="in a client's requests"
    )
    default_signature: str = Field(
        "classify",
        pattern="^(classify|pixels)$",
        description="what `serving_default` is; pixels: bare pixel arrays in, bare lists out",
    )
    image_feature: str = Field(
        "image",
        min_length=1,
        description="a further name that an image may have in a client's tf.Examples",
    )


class BeamSettings(Settings):
    """How Beam runs the data-parallel nodes."""

    pipeline_args: tuple[str, ...] = Field(
        # Without the first, Beam downloads a runner written in Go before a local pipeline; without
        # the second, TFX packs itself into a source distribution for workers that do not exist.
        ("--runner=FnApiRunner", "--sdk_container_image=unused"),
        description="options of every Beam node",
    )


class ScheduleSettings(Settings):
    """When runs start by themselves, and what happens when one fails."""

    cron: str = Field("0 3 * * *", description="five fields, as in crontab(5)")
    time_zone: str = Field("UTC", description="of `cron`, as in the IANA database")
    poll_seconds: float = Field(10.0, gt=0, description="between two looks for new spans")
    retries: int = Field(3, ge=0, description="further attempts at a run that failed")
    retry_delay_seconds: float = Field(
        60.0, ge=0, description="before the first of them; doubles from one to the next"
    )
    start: date | None = Field(
        None,
        description="under Airflow: the day of span 1, from which on runs are caught up and each "
        "reads no span after its own; None: no run is caught up and each reads the newest spans",
    )
    node_timeout_seconds: float = Field(3 * 3600.0, gt=0, description="under Airflow, of a node")
    webhook: str | None = Field(
        None, pattern="^https?://", description="gets the result of every run that did something"
    )


class MetadataSettings(Settings):
    """Where the record of runs is kept; passwords are PostgreSQL's own `PGPASSWORD` or file."""

    host: str | None = Field(None, min_length=1, description="of PostgreSQL; None: a SQLite file")
    port: int = Field(5432, ge=1, le=65535, description="of PostgreSQL")
    database: str = Field("fashion_mnist", min_length=1, description="is made when missing")
    user: str = Field("fashion_mnist", min_length=1, description="of PostgreSQL")


class KubeflowSettings(Settings):
    """What the compiled pipeline finds in the cluster, and where Kubeflow Pipelines answers."""

    image: str = Field("fashion-mnist-pipeline:latest", description="built from the Dockerfile")
    workdir: str = Field(
        "/mnt/fashion-mnist", pattern="^/", description="the workdir inside the containers"
    )
    volume_claim: str | None = Field(
        None, description="PersistentVolumeClaim that is mounted at `kubeflow.workdir`"
    )
    host: str | None = Field(None, description="address of the Kubeflow Pipelines API")
    namespace: str | None = Field(None, description="of the experiment, where users have their own")
    experiment: str = Field("fashion-mnist", description="that submitted runs belong to")
    pipeline_root: str | None = Field(
        None,
        description="where artifacts go (minio://bucket/path); None: the cluster's default",
    )


class Config(Settings):
    """All settings of one run."""

    preset: Preset = Field(Preset.DEFAULT, description="what the other settings start from")
    workdir: Path = Field(DEFAULT_WORKDIR, description="where everything is written")
    data: DataSettings = DataSettings()
    training: Hyperparameters = Hyperparameters()
    tuning: TuningSettings = TuningSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    infra_validation: InfraValidationSettings = InfraValidationSettings()
    push: PushSettings = PushSettings()
    serving: ServingSettings = ServingSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    metadata: MetadataSettings = MetadataSettings()
    kubeflow: KubeflowSettings = KubeflowSettings()
    beam: BeamSettings = BeamSettings()

    @property
    def data_root(self) -> Path:
        """The folder with `official/` and `spans/`."""
        if self.data.root:
            return self.data.root.expanduser().resolve()
        return SAMPLE_DATA if self.data.sample else self.workdir / "data"

    @property
    def schema_file(self) -> Path:
        """The schema that the examples are validated with."""
        given = self.data.schema_file
        return given.expanduser().resolve() if given else SCHEMA_FILE

    @property
    def fetches_data(self) -> bool:
        """Whether a run gets the four official files for the data root, if they are missing."""
        return self.data.root is None and not self.data.sample

    @property
    def serving_dir(self) -> Path:
        """The model's base path, unless that is a URI: its versions are the numbered folders."""
        if self.push.destination and not self.pushes_to_uri:
            return Path(self.push.destination).expanduser().resolve()
        return self.workdir / "serving" / self.serving.model_name

    @property
    def serving_base(self) -> str:
        """The model's base path, a folder or a URI: what is pushed to and compared with."""
        if self.push.destination and self.pushes_to_uri:
            return self.push.destination
        return str(self.serving_dir)

    @property
    def pushes_to_uri(self) -> bool:
        """Whether the model's base path is no folder of this machine."""
        return "://" in (self.push.destination or "")

    @property
    def runs_dir(self) -> Path:
        """Where each run's result is kept."""
        return self.workdir / "runs"

    @property
    def logs_dir(self) -> Path:
        """Where TensorFlow's, Beam's and TFX's own output goes."""
        return self.workdir / "logs"

    @property
    def pipeline_root(self) -> Path:
        """Where nodes write their artifacts."""
        return self.workdir / "pipeline_root"

    @property
    def metadata_path(self) -> Path:
        """The SQLite file of ML Metadata."""
        return self.workdir / "metadata.sqlite"


_PRESETS: Mapping[Preset, Mapping[str, Mapping[str, Any]]] = {
    # Twenty test images a class are noise: the limits only catch a model that learned nothing.
    Preset.SMOKE: {
        "data": {"sample": True},
        "training": {
            "epochs": 8,
            "batch_size": 32,
            "learning_rate": 3e-3,
            "weight_decay": 1e-4,
            "label_smoothing": 0.1,
            "filters": (16, 32, 64),
            "dense_units": 64,
            "dropout": 0.3,
            "threads": 2,
        },
        "evaluation": {
            "min_accuracy": 0.6,
            "min_span_accuracy": 0.4,
            "min_class_recall": 0.1,
            "max_accuracy_drop": 0.1,
        },
    },
    # The defaults of every setting; what `runner.py tune` searches comes from it.
    Preset.DEFAULT: {},
    Preset.BEST: {
        "training": {
            "epochs": 32,
            "batch_size": 256,
            "learning_rate": 3e-3,
            "weight_decay": 0.05,
            "label_smoothing": 0.1,
            "filters": (64, 128, 256, 256),
            "convolutions": 2,
            "dense_units": 256,
            "dropout": 0.3,
            "random_shift": 2,
            "cutout": 8,
        }
    },
}


def load_config(
    preset: str | None = None,
    file: Path | None = None,
    overrides: Sequence[str] = (),
    **flags: Any,
) -> Config:
    """Merges preset, file, `section.key=value` overrides and flags; later ones win.

    Args:
        preset: the preset, unless the file names one; `default` when neither does.
        file: a TOML file with the sections of `Config`.
        overrides: `section.key=value`, the value in TOML's notation or a bare string.
        flags: further values by dotted name with `__` for the dot; None is left out.

    Raises:
        UsageError: when a name is unknown or a value does not fit.
    """
    from_file = _read_toml(file) if file else {}
    chosen = preset or from_file.pop("preset", None) or Preset.DEFAULT
    from_file.pop("preset", None)
    if chosen not in list(Preset):
        raise UsageError(f"unknown preset {chosen!r}; there are {', '.join(Preset)}")
    settings: dict[str, Any] = {"preset": chosen}
    _merge(settings, _PRESETS[Preset(chosen)])
    _merge(settings, from_file)
    for override in overrides:
        _merge(settings, _parse_override(override))
    for name, value in flags.items():
        if value is not None:
            _merge(settings, _nested(name.split("__"), value))
    try:
        config = Config.model_validate(settings)
    except ValidationError as error:
        raise UsageError(_sentence(error)) from None
    if not config.schema_file.is_file():
        raise UsageError(f"data.schema_file: there is no file {config.schema_file}")
    return config.model_copy(update={"workdir": config.workdir.expanduser().resolve()})


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except OSError as error:
        raise UsageError(f"cannot read the configuration {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the configuration {file} is not valid TOML: {error}") from None


def _parse_override(override: str) -> dict[str, Any]:
    name, separator, text = override.partition("=")
    if not separator or "." not in name:
        raise UsageError(f"--set takes section.key=value, not {override!r}")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return _nested(name.strip().split("."), value)


def _nested(path: Sequence[str], value: Any) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    return value


def _merge(into: dict[str, Any], settings: Mapping[str, Any]) -> None:
    for name, value in settings.items():
        if isinstance(value, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = dict(value) if isinstance(value, Mapping) else value


def _sentence(error: ValidationError) -> str:
    problems = []
    details = error.errors()
    inside = {detail["loc"][:-1] for detail in details}
    for detail in details:
        if detail["type"] == "too_short" and detail["loc"] in inside:
            continue  # pydantic does not count the items that it refuses
        name = ".".join(str(part) for part in detail["loc"])
        if detail["type"] == "extra_forbidden":
            problems.append(f"there is no setting {name}")
        else:
            problems.append(f"{name} = {detail['input']!r}: {detail['msg'].lower()}")
    return "; ".join(problems)
