"""IdxExampleGen: from IDX image and label files to tf.Examples."""

from typing import ClassVar, Literal

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.types import channel, component_spec, standard_artifacts
from tfx.types.standard_component_specs import EXAMPLES_KEY, INPUT_BASE_KEY

from components.idx_example_gen import executor, parameters
from components.idx_example_gen.driver import Driver


class IdxExampleGenSpec(component_spec.ComponentSpec):
    """Parameters and outputs of IdxExampleGen."""

    PARAMETERS: ClassVar = {
        INPUT_BASE_KEY: component_spec.ExecutionParameter(type=str),
        "class_count": component_spec.ExecutionParameter(type=int),
        "window": component_spec.ExecutionParameter(type=int),
        "last_span": component_spec.ExecutionParameter(type=int),
        "examples_per_shard": component_spec.ExecutionParameter(type=int),
        "fingerprint": component_spec.ExecutionParameter(type=str),
    }
    INPUTS: ClassVar[dict[str, component_spec.ChannelParameter]] = {}
    OUTPUTS: ClassVar = {
        EXAMPLES_KEY: component_spec.ChannelParameter(type=standard_artifacts.Examples)
    }


class IdxExampleGen(base_beam_component.BaseBeamComponent):
    """An ExampleGen for IDX files, gzipped or not, with a rolling window of spans.

    Under `input_base` lies a base set (``base/train-images-idx3-ubyte``, its labels, and
    ``t10k-...`` for testing) and, optionally, spans (``images-idx3-ubyte`` and
    ``labels-idx1-ubyte`` in a directory named by the span's number). The newest spans are trained
    on, as many as the window says, and without any the base's training images. Spans whose
    numbers are keys of ``quarantine.json`` are left out; the file is read when the node runs.

    The output `examples` has the splits `train`, `validation` (a tenth of the training images,
    chosen by a hash of the image) and `eval` (the base's test set, and a fifth of the newest
    span that this run does not train on). Every example has `image` (PNG bytes), `label` (int64),
    `origin` (bytes, ``base`` or ``span-N``) and `mean_pixel` (float, 0 to 255). The artifact
    has the property `span` (the newest, or 0) and the custom properties `spans` (a JSON list) and
    `input_fingerprint`. The same files give the same shards with the same bytes.

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
        window: Literal["latest"] | int | None = "latest",
        last_span: int | RuntimeParameter | None = None,
        examples_per_shard: int = 8_000,
        fingerprint: str = "",
    ) -> None:
        """Constructs the component.

        Args:
            input_base: the data root.
            class_count: labels are 0 to `class_count` - 1.
            window: how many of the newest spans are read; None for all.
            last_span: newer spans are left out; a parameter lets every run have its own.
            examples_per_shard: upper bound, about, for the examples in one output file.
            fingerprint: changes when the code of this component does, so that TFX's cache sees it.

        Raises:
            ValueError: a window or shard size below one.
        """
        if isinstance(window, int) and window < 1:
            raise ValueError(f"window must be at least 1, 'latest' or None, not {window}")
        if examples_per_shard < 1:
            raise ValueError(f"examples_per_shard must be at least 1, not {examples_per_shard}")
        super().__init__(
            IdxExampleGenSpec(
                input_base=input_base,
                class_count=class_count,
                window=_window_size(window),
                last_span=parameters.NO_LAST_SPAN if last_span is None else last_span,
                examples_per_shard=examples_per_shard,
                fingerprint=fingerprint,
                examples=channel.Channel(standard_artifacts.Examples),
            )
        )


def _window_size(window: Literal["latest"] | int | None) -> int:
    if window is None:
        return parameters.ALL_SPANS
    return 1 if window == "latest" else window
