"""IdxExampleGen: from IDX image and label files to tf.Examples."""

import json
from collections.abc import Sequence
from typing import ClassVar

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import channel, component_spec, standard_artifacts
from tfx.types.standard_component_specs import EXAMPLES_KEY, INPUT_BASE_KEY

from components.idx_example_gen import executor, parameters
from components.idx_example_gen.driver import Driver
from data.spans import Choice


class IdxExampleGenSpec(component_spec.ComponentSpec):
    """Parameters and outputs of IdxExampleGen."""

    PARAMETERS: ClassVar = {
        INPUT_BASE_KEY: component_spec.ExecutionParameter(type=str),
        "class_count": component_spec.ExecutionParameter(type=int),
        # A list as JSON.
        "labels": component_spec.ExecutionParameter(type=str),
        "max_pixels": component_spec.ExecutionParameter(type=int),
        "window": component_spec.ExecutionParameter(type=int),
        "last_span": component_spec.ExecutionParameter(type=int),
        # A number, because TFX knows no boolean execution properties.
        "include_base": component_spec.ExecutionParameter(type=int),
        "serving_dir": component_spec.ExecutionParameter(type=str),
        "spans": component_spec.ExecutionParameter(type=str),
        "examples_per_shard": component_spec.ExecutionParameter(type=int),
    }
    INPUTS: ClassVar[dict[str, component_spec.ChannelParameter]] = {}
    OUTPUTS: ClassVar = {
        EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples)
    }


class IdxExampleGen(base_beam_component.BaseBeamComponent):
    """An ExampleGen for IDX files and pictures: a base set, and spans that come after it.

    Under `input_base` lies a base set (``base/train-images-idx3-ubyte``, its labels, and
    ``t10k-...`` for testing) and, optionally, spans (``images-idx3-ubyte`` and
    ``labels-idx1-ubyte`` in ``spans/N``), gzipped or not. Each may be a folder of PNG and JPEG
    files for each class instead (``base/train/ant``, ``base/test/ant``, ``spans/N/ant``), whose
    bytes become examples as they are. Trained on are the base's training images and the newest
    spans, as many as the window says, but for those that are quarantined. New are the spans that
    the served version was not trained on; a part of each is held out, so that it can be judged.

    The output `examples` has the splits `train`, `validation` (a tenth of the training images,
    chosen by a hash of the image) and `eval` (the base's test set, and a fifth of each new span,
    which this run does not train on). Every example has `image` (PNG or JPEG bytes), `label`
    (int64), `origin` (bytes, ``base`` or ``span-N``) and `mean_pixel` (float, 0 to 255). The
    artifact has the property `span` (the newest, or 0) and the custom properties `spans` and
    `new_spans` (JSON lists), `spans_detail` (a JSON list of span, images and the SHA-256 of its
    files) and `input_fingerprint`. The same files give the same shards with the same bytes.

    It is not a FileBasedExampleGen, whose driver reads one span and sees changed files only by
    time and size, and which the Kubeflow compiler ties to that driver. Its executor resolves the
    window itself where no driver runs.
    """

    SPEC_CLASS = IdxExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        input_base: str,
        class_count: int,
        labels: Sequence[str] = (),
        max_pixels: int = 25_000_000,
        window: int = parameters.ALL_SPANS,
        last_span: int | RuntimeParameter | None = None,
        include_base: bool = True,
        serving_dir: str = "",
        spans: Choice | None = None,
        examples_per_shard: int = 8_000,
    ) -> None:
        """Constructs the component.

        Args:
            input_base: the data root.
            class_count: labels are 0 to `class_count` - 1.
            labels: names of the classes, which folders of pictures are called by; empty: such
                folders are called by the number of the class.
            max_pixels: a picture of more, width times height, is refused.
            window: how many of the newest spans are read; 0: all.
            last_span: newer spans are left out; a parameter lets every run have its own.
            include_base: whether the base is trained on beside spans.
            serving_dir: the model's base path, whose newest version says which spans are new;
                empty: all are.
            spans: those of a run that has chosen them already; None: they are chosen when the node
                runs.
            examples_per_shard: upper bound, about, for the examples in one output file.

        Raises:
            ValueError: a window or shard size below one.
        """
        if window < 0:
            raise ValueError(f"window must be at least 1, or 0 for all spans, not {window}")
        if examples_per_shard < 1:
            raise ValueError(f"examples_per_shard must be at least 1, not {examples_per_shard}")
        super().__init__(
            IdxExampleGenSpec(
                input_base=input_base,
                class_count=class_count,
                labels=json.dumps(list(labels)),
                max_pixels=max_pixels,
                window=window,
                last_span=parameters.NO_LAST_SPAN if last_span is None else last_span,
                include_base=int(include_base),
                serving_dir=serving_dir,
                spans=parameters.as_property(spans) if spans else "",
                examples_per_shard=examples_per_shard,
                examples=channel.Channel(standard_artifacts.Examples),
            )
        )
