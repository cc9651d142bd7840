"""SpanDistributionValidator: compares every new span with what the served model was trained on.

A span is a small part of what a run trains on, which hides a bad day. TFX's DistributionValidator
compares whole splits; this one gives it each new span's part alone, which StatisticsGen counts
apart when it slices by the origin of the examples. A distance beyond its limit is drift only if
chance does not explain it.
"""

import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2
from tfx import types
from tfx.components.distribution_validator import component, executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import distribution_validator_pb2
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_artifacts, standard_component_specs
from tfx.types.component_spec import ChannelParameter
from tfx.types.standard_component_specs import (
    ANOMALIES_KEY,
    BASELINE_STATISTICS_KEY,
    DISTRIBUTION_VALIDATOR_CONFIG_KEY,
    EXAMPLES_KEY,
    INCLUDE_SPLIT_PAIRS_KEY,
    STATISTICS_KEY,
)
from tfx.utils import json_utils
from tfx_bsl.public.proto import slicing_spec_pb2

from components.idx_example_gen.output import new_spans, read_spans
from components.span_distribution_validator.likelihood import explained_by_chance
from data.layout import origin_of

if TYPE_CHECKING:
    import tensorflow_data_validation as tfdv

ORIGIN_FEATURE = "origin"
# Both validators write a file of this name for every split or pair of splits.
ANOMALIES_FILE = "SchemaDiff.pb"
BLESSED_PROPERTY = "blessed"


def slice_by_origin() -> "tfdv.StatsOptions":
    """Options for the StatisticsGen in front: statistics over all and by `origin`."""
    # It can only be imported once tfx has completed tfx_bsl for it.
    import tensorflow_data_validation as tfdv

    by_origin = slicing_spec_pb2.SlicingSpec(feature_keys=[ORIGIN_FEATURE])
    return tfdv.StatsOptions(
        slicing_config=slicing_spec_pb2.SlicingConfig(slicing_specs=[by_origin])
    )


def slice_of(origin: str) -> str:
    """The name that StatisticsGen gives to the statistics of an origin's examples."""
    return f"{ORIGIN_FEATURE}_{origin}"


class SpanDistributionValidatorSpec(standard_component_specs.DistributionValidatorSpec):
    """DistributionValidator's, with the examples, which know the new spans."""

    INPUTS: ClassVar = {
        **standard_component_specs.DistributionValidatorSpec.INPUTS,
        EXAMPLES_KEY: ChannelParameter(type=standard_artifacts.Examples, optional=True),
    }


class Executor(executor.Executor):
    """Does for each new span's statistics what its base class does for those of a split."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """Writes the anomalies of each new span against the baseline, under `Split-span-N`.

        Without new spans the whole splits are compared. Where no baseline is given although there
        are spans that were served from, all that is read now stands in for it.

        Raises:
            ValueError: the statistics were not sliced by origin.
        """
        examples = input_dict.get(EXAMPLES_KEY) or []
        spans = new_spans(examples)
        served_from = set(read_spans(examples)) - set(spans)
        if spans and served_from and not input_dict.get(BASELINE_STATISTICS_KEY):
            # What is served has other classes, or no statistics; its data is read again now.
            input_dict = {**input_dict, BASELINE_STATISTICS_KEY: input_dict[STATISTICS_KEY]}
        if not spans or not input_dict.get(BASELINE_STATISTICS_KEY):
            return super().Do(input_dict, output_dict, exec_properties)
        found = artifact_utils.get_single_instance(output_dict[ANOMALIES_KEY])
        blessed = {}
        for span in spans:
            anomalies = self._anomalies_of(span, input_dict, exec_properties)
            blessed[origin_of(span)] = int(not anomalies.anomaly_info)
            file = Path(found.uri) / f"Split-{origin_of(span)}" / ANOMALIES_FILE
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(anomalies.SerializeToString())
        found.split_names = artifact_utils.encode_split_names(list(blessed))
        found.set_json_value_custom_property(BLESSED_PROPERTY, blessed)
        output = execution_result_pb2.ExecutorOutput()
        output.output_artifacts[ANOMALIES_KEY].artifacts.append(found.mlmd_artifact)
        return output

    def _anomalies_of(
        self,
        span: int,
        input_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> anomalies_pb2.Anomalies:
        statistics = artifact_utils.get_single_instance(input_dict[STATISTICS_KEY])
        baseline = artifact_utils.get_single_instance(input_dict[BASELINE_STATISTICS_KEY])
        with tempfile.TemporaryDirectory() as folder:
            own = _of_span(statistics, span, Path(folder) / "statistics")
            pairs = _pairs_with(own, exec_properties)
            if pairs == []:
                # A few images may all be held out: nothing of them is compared.
                return anomalies_pb2.Anomalies()
            found = standard_artifacts.ExampleAnomalies()
            found.uri = str(Path(folder) / "anomalies")
            inputs = {**input_dict, STATISTICS_KEY: [own]}
            properties = {**exec_properties, INCLUDE_SPLIT_PAIRS_KEY: json_utils.dumps(pairs)}
            super().Do(inputs, {ANOMALIES_KEY: [found]}, properties)
            merged = anomalies_pb2.Anomalies()
            for file in sorted(Path(found.uri).glob(f"*/{ANOMALIES_FILE}")):
                anomalies = anomalies_pb2.Anomalies.FromString(file.read_bytes())
                split, _, before = file.parent.name.partition("-")[2].partition("_")
                _drop_chance(anomalies, _only(own, split), _only(baseline, before))
                merged.MergeFrom(anomalies)
        return merged


def _pairs_with(
    own: standard_artifacts.ExampleStatistics, exec_properties: dict[str, Any]
) -> list[tuple[str, str]] | None:
    """The pairs of splits to compare that `own` has part in; None: no pairs were named."""
    pairs = json_utils.loads(exec_properties.get(INCLUDE_SPLIT_PAIRS_KEY) or "null")
    splits = artifact_utils.decode_split_names(own.split_names)
    return None if pairs is None else [pair for pair in pairs if pair[0] in splits]


def _drop_chance(
    anomalies: anomalies_pb2.Anomalies,
    own: statistics_pb2.DatasetFeatureStatistics,
    baseline: statistics_pb2.DatasetFeatureStatistics,
) -> None:
    """Takes out what chance explains, and says of the rest how little it does."""
    for info in anomalies.drift_skew_info:
        name = ".".join(info.path.step)
        if name not in anomalies.anomaly_info:
            continue
        chance = explained_by_chance(info, own, baseline)
        if chance is None:
            continue
        if chance.is_likely:
            del anomalies.anomaly_info[name]
            continue
        for reason in anomalies.anomaly_info[name].reason:
            reason.description = f"{reason.description.rstrip('. ')}; {chance}"


def _only(
    statistics: standard_artifacts.ExampleStatistics, split: str
) -> statistics_pb2.DatasetFeatureStatistics:
    """The statistics of a split's whole: the first data set, or the only one."""
    return stats_artifact_utils.load_statistics(statistics, split).proto().datasets[0]


def _of_span(
    statistics: standard_artifacts.ExampleStatistics, span: int, folder: Path
) -> standard_artifacts.ExampleStatistics:
    """A copy of the statistics, in `folder`, of those splits that a span has part in."""
    splits = []
    for split, dataset in slices_of(statistics, origin_of(span)):
        target = folder / f"Split-{split}" / stats_artifact_utils.BINARY_PB_BASENAME
        target.parent.mkdir(parents=True)
        sliced = statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset])
        target.write_bytes(sliced.SerializeToString())
        splits.append(split)
    if not splits:
        wanted = slice_of(origin_of(span))
        raise ValueError(f"{statistics.uri} has no slice {wanted}: give StatisticsGen the slicing")
    own = copy.deepcopy(statistics)
    own.uri = str(folder)
    own.split_names = artifact_utils.encode_split_names(splits)
    return own


def slices_of(
    statistics: standard_artifacts.ExampleStatistics, origin: str
) -> Iterator[tuple[str, statistics_pb2.DatasetFeatureStatistics]]:
    """Yields the statistics of an origin's examples by split."""
    for split in artifact_utils.decode_split_names(statistics.split_names):
        everything = stats_artifact_utils.load_statistics(statistics, split).proto()
        for dataset in everything.datasets:
            if dataset.name == slice_of(origin):
                yield split, dataset


class SpanDistributionValidator(component.DistributionValidator):
    """TFX's DistributionValidator, on each new span's part of each split.

    Give the StatisticsGen in front `stats_options=slice_by_origin()`. Without new spans the whole
    splits are compared.
    """

    SPEC_CLASS = SpanDistributionValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        statistics: types.BaseChannel,
        baseline_statistics: types.BaseChannel,
        config: distribution_validator_pb2.DistributionValidatorConfig,
        include_split_pairs: list[tuple[str, str]] | None = None,
        examples: types.BaseChannel | None = None,
    ) -> None:
        """Makes the node; arguments are those of DistributionValidator.

        Args:
            statistics: of the data, sliced by origin.
            baseline_statistics: of what the served model was trained on.
            config: the distances that are allowed.
            include_split_pairs: which splits are compared.
            examples: of IdxExampleGen, which know the new spans.
        """
        inputs = {
            STATISTICS_KEY: statistics,
            BASELINE_STATISTICS_KEY: baseline_statistics,
            EXAMPLES_KEY: examples,
            DISTRIBUTION_VALIDATOR_CONFIG_KEY: config,
            INCLUDE_SPLIT_PAIRS_KEY: json_utils.dumps(include_split_pairs),
            ANOMALIES_KEY: types.Channel(type=standard_artifacts.ExampleAnomalies),
        }
        # The base class makes a specification without the examples.
        base_component.BaseComponent.__init__(self, spec=SpanDistributionValidatorSpec(**inputs))
