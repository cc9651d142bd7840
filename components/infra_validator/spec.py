"""What InfraValidator is to do, as one value that travels in an execution property."""

from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from data.fit import Fit
from serving.launch.base import DEFAULT_IMAGE, ServerKind


class Method(StrEnum):
    """The API that a signature is called by, and its method name in the SavedModel."""

    CLASSIFY = "tensorflow/serving/classify"
    PREDICT = "tensorflow/serving/predict"


class Source(StrEnum):
    """How the value of a signature's input is made from a tf.Example."""

    EXAMPLE = "example"  # the serialized tf.Example
    FEATURE = "feature"  # one feature's value
    IMAGE = "image"  # one feature's encoded image, decoded to the shape and type of the input


class Input(BaseModel):
    """Where one input of a signature comes from; `fit` is for images."""

    model_config = ConfigDict(extra="forbid")

    source: Source
    feature: str = ""
    fit: Fit = Fit.SQUASH


class SignatureRequest(BaseModel):
    """How to call one signature.

    Attributes:
        method: the API; the SavedModel's method name must agree.
        inputs: source by input name; for classify, nothing but `inputs` from the example.
    """

    model_config = ConfigDict(extra="forbid")

    method: Method
    inputs: dict[str, Input]


class Limits(BaseModel):
    """What the model must keep to; None: no limit.

    Attributes:
        max_load_seconds: from the start of the server until the model is AVAILABLE.
        max_latency_ms: 99th percentile of a single-example request, for every signature.
        max_median_latency_ms: median of the same.
        max_memory_megabytes: resident memory of the server with the model loaded.
        max_model_megabytes: size of the SavedModel on disk.
    """

    model_config = ConfigDict(extra="forbid")

    max_load_seconds: float | None = Field(None, gt=0)
    max_latency_ms: float | None = Field(None, gt=0)
    max_median_latency_ms: float | None = Field(None, gt=0)
    max_memory_megabytes: float | None = Field(None, gt=0)
    max_model_megabytes: float | None = Field(None, gt=0)


class RecordedRequests(BaseModel):
    """Which requests of production the model is asked besides examples.

    Attributes:
        directory: of the recordings.
        model: under which name they were recorded.
        count: how many of the newest.
    """

    model_config = ConfigDict(extra="forbid")

    directory: Path
    model: str
    count: int = Field(ge=1)


class ValidationSpec(BaseModel):
    """What InfraValidator is to do.

    Attributes:
        model_name: under which the server serves the model.
        requests: how to call each signature; the model must have exactly these.
        labels: the vocabulary, in the order of class ids.
        example_features: the features of an example that a client sends; empty: all.
        label_feature: feature with the class id; empty: answers are not compared with the truth.
        min_sample_accuracy: the least share of right answers on the sampled examples. Low on
            purpose: it tells a trained model from one that guesses, Evaluator does the rest.
        split: the split that requests are built from.
        batch_size: the larger of the two sizes of requests, besides 1.
        examples: how many examples are sent to each signature.
        model_server: which server to use.
        docker_image: the image for `docker`, with TensorFlow Serving's entry point.
        limits: what the model must keep to.
        recorded: requests of production to be asked as well; None: none.
        work_dir: a local folder, one that the Docker engine can mount; None: the system's.
    """

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model_name: str
    requests: dict[str, SignatureRequest] = Field(min_length=1)
    labels: list[str]
    example_features: list[str] = Field(default_factory=list)
    label_feature: str = ""
    min_sample_accuracy: float = Field(0.0, ge=0, le=1)
    split: str = "eval"
    batch_size: int = Field(32, ge=2)
    examples: int = Field(64, ge=1)
    model_server: ServerKind = ServerKind.AUTO
    docker_image: str = DEFAULT_IMAGE
    limits: Limits = Field(default_factory=lambda: Limits())
    recorded: RecordedRequests | None = None
    work_dir: Path | None = None
