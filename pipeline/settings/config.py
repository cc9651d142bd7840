"""All settings of one run, section by section, and the paths that follow from them."""

from pathlib import Path

from pydantic import Field

from data.layout import base_folder
from files.paths import resolved
from pipeline.modeling.features import CLASS_LABELS, ImageFormat
from pipeline.settings.base import Settings
from pipeline.settings.beam import BeamSettings
from pipeline.settings.canary import CanarySettings
from pipeline.settings.data import DataSettings
from pipeline.settings.edge import EdgeSettings
from pipeline.settings.hyperparameters import Hyperparameters
from pipeline.settings.infra_validation import InfraValidationSettings
from pipeline.settings.kubeflow import KubeflowSettings
from pipeline.settings.metadata import MetadataSettings
from pipeline.settings.paths import DEFAULT_WORKDIR, SAMPLE_DATA, SCHEMA_FILE
from pipeline.settings.presets import Preset
from pipeline.settings.push import PushSettings
from pipeline.settings.retention import RetentionSettings
from pipeline.settings.schedule import ScheduleSettings
from pipeline.settings.search_space import TuningSettings
from pipeline.settings.serving import ServingSettings
from pipeline.settings.thresholds import EvaluationSettings
from pipeline.settings.traffic import TrafficSettings


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
    retention: RetentionSettings = RetentionSettings()
    traffic: TrafficSettings = TrafficSettings()
    edge: EdgeSettings = EdgeSettings()
    canary: CanarySettings = CanarySettings()
    kubeflow: KubeflowSettings = KubeflowSettings()
    beam: BeamSettings = BeamSettings()

    @property
    def data_root(self) -> Path:
        """The folder with `base/` and `spans/`."""
        if self.data.root:
            return resolved(self.data.root)
        return SAMPLE_DATA if self.data.sample else self.workdir / "data"

    @property
    def base_dir(self) -> Path:
        """The folder with the base set: the four Fashion-MNIST files, or yours."""
        return base_folder(self.data_root)

    @property
    def schema_file(self) -> Path:
        """The schema that the examples are validated with."""
        given = self.data.schema_file
        return resolved(given) if given else SCHEMA_FILE

    @property
    def image_format(self) -> ImageFormat:
        """What every picture becomes before the network sees it."""
        return ImageFormat(
            size=self.data.image_size,
            color=self.data.color,
            fit=self.data.fit,
            max_pixels=self.serving.max_pixels,
        )

    @property
    def shows_clothes(self) -> bool:
        """Whether the model knows Fashion-MNIST's pictures: photos are made into such ones."""
        return self.data.labels == CLASS_LABELS and self.image_format.shape == ImageFormat().shape

    @property
    def fetches_data(self) -> bool:
        """Whether a run gets the four official files for the data root, if they are missing."""
        return self.data.root is None and not self.data.sample

    @property
    def serving_dir(self) -> Path:
        """The model's base path, unless that is a URI: its versions are the numbered folders."""
        if self.push.destination and not self.pushes_to_uri:
            return resolved(Path(self.push.destination))
        return self.workdir / "serving" / self.serving.model_name

    @property
    def serving_base(self) -> str:
        """The model's base path, a folder or a URI: what is pushed to and compared with."""
        if self.push.destination and self.pushes_to_uri:
            return self.push.destination
        return str(self.serving_dir)

    @property
    def signing_key(self) -> Path | None:
        """The private key that signs what is pushed."""
        given = self.push.sign_with
        return resolved(given) if given else None

    @property
    def pushes_to_uri(self) -> bool:
        """Whether the model's base path is not a folder of this machine."""
        return "://" in (self.push.destination or "")

    @property
    def runs_dir(self) -> Path:
        """Where each run's result is kept."""
        return self.workdir / "runs"

    @property
    def recordings_dir(self) -> Path:
        """Where what clients asked is recorded."""
        given = self.traffic.directory
        return resolved(given) if given else self.workdir / "traffic" / "recorded"

    @property
    def traffic_dir(self) -> Path:
        """Where the statistics of training, the reports on traffic and late labels are."""
        return self.workdir / "traffic"

    @property
    def edge_dir(self) -> Path:
        """Where the edge has its configuration and its access log."""
        return self.workdir / "edge"

    @property
    def logs_dir(self) -> Path:
        """Where TensorFlow's, Beam's and TFX's own output goes."""
        return self.workdir / "logs"

    @property
    def file_memory(self) -> Path:
        """What is remembered about files between runs, so that they are not read each time."""
        return self.workdir / "file_memory.json"

    @property
    def pipeline_root(self) -> Path:
        """Where nodes write their artifacts."""
        return self.workdir / "pipeline_root"

    @property
    def metadata_path(self) -> Path:
        """The SQLite file of ML Metadata."""
        return self.workdir / "metadata.sqlite"
