"""SpanDistributionValidator: compares the newest span with the baseline, undiluted by its window.

A rolling window hides a bad day: of three spans, only a third of the training split is new. TFX's
DistributionValidator compares whole splits; this one gives it the newest span's part of them,
which StatisticsGen counts apart when it slices by the origin of the examples.
"""

import copy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx import types
from tfx.components.distribution_validator import component, executor
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import executor_spec
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.standard_component_specs import STATISTICS_KEY
from tfx_bsl.public.proto import slicing_spec_pb2

if TYPE_CHECKING:
    import tensorflow_data_validation as tfdv

ORIGIN_FEATURE = "origin"


def slice_by_origin() -> "tfdv.StatsOptions":
    """Options for the StatisticsGen in front: statistics over all and by `origin`."""
    # It can only be imported once tfx has completed tfx_bsl for it.
    import tensorflow_data_validation as tfdv

    by_origin = slicing_spec_pb2.SlicingSpec(feature_keys=[ORIGIN_FEATURE])
    return tfdv.StatsOptions(
        slicing_config=slicing_spec_pb2.SlicingConfig(slicing_specs=[by_origin])
    )


class Executor(executor.Executor):
    """Replaces the statistics by those of the newest span, then does what its base class does."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """Writes the anomalies of the newest span against the baseline.

        Raises:
            ValueError: the statistics were not sliced by origin.
        """
        statistics = artifact_utils.get_single_instance(input_dict[STATISTICS_KEY])
        if not statistics.span:
            return super().Do(input_dict, output_dict, exec_properties)
        with tempfile.TemporaryDirectory() as folder:
            newest = _of_newest_span(statistics, Path(folder))
            return super().Do(
                {**input_dict, STATISTICS_KEY: [newest]}, output_dict, exec_properties
            )


def _of_newest_span(
    statistics: standard_artifacts.ExampleStatistics, folder: Path
) -> standard_artifacts.ExampleStatistics:
    """A copy of the statistics, in `folder`, of those splits that the newest span has part in."""
    wanted = f"{ORIGIN_FEATURE}_span-{statistics.span}"
    splits = []
    for split in artifact_utils.decode_split_names(statistics.split_names):
        everything = stats_artifact_utils.load_statistics(statistics, split).proto()
        datasets = [dataset for dataset in everything.datasets if dataset.name == wanted]
        if datasets:
            target = folder / f"Split-{split}" / stats_artifact_utils.BINARY_PB_BASENAME
            target.parent.mkdir()
            sliced = statistics_pb2.DatasetFeatureStatisticsList(datasets=datasets)
            target.write_bytes(sliced.SerializeToString())
            splits.append(split)
    if not splits:
        raise ValueError(f"{statistics.uri} has no slice {wanted}: give StatisticsGen the slicing")
    newest = copy.deepcopy(statistics)
    newest.uri = str(folder)
    newest.split_names = artifact_utils.encode_split_names(splits)
    return newest


class SpanDistributionValidator(component.DistributionValidator):
    """TFX's DistributionValidator, on the newest span's part of each split.

    Give the StatisticsGen in front `stats_options=slice_by_origin()`. Without spans the whole
    splits are compared.
    """

    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
