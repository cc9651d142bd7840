"""Which new spans are to blame for anomalies, and which anomalies are nobody's fault."""

from pathlib import Path

from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx import types
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils

from components.anomaly_gate.findings import read_findings
from components.idx_example_gen.output import new_spans
from components.span_distribution_validator.component import ORIGIN_FEATURE
from data.layout import is_span, origin_of, span_of


def drifting_spans(drift: list[types.Artifact]) -> set[int]:
    """The spans for which SpanDistributionValidator found drift."""
    folders = (folder for artifact in drift for folder in Path(artifact.uri).glob("Split-*"))
    origins = {folder.name.removeprefix("Split-"): folder for folder in folders}
    return {
        span_of(origin)
        for origin, folder in origins.items()
        if is_span(origin) and read_findings(str(folder.parent), folder.name)
    }


def spans_to_blame(input_dict: dict[str, list[types.Artifact]]) -> set[int]:
    """The new spans whose own statistics have anomalies, if those of all other origins have none.

    An anomaly that the base or a span has which was served from already speaks against the schema.

    Args:
        input_dict: with `statistics` sliced by origin, `schema` and `examples`; without them
            nobody is to blame.
    """
    if not all(input_dict.get(key) for key in ("statistics", "schema", "examples")):
        return set()
    anomalous = _anomalous_origins(
        artifact_utils.get_single_instance(input_dict["statistics"]),
        artifact_utils.get_single_instance(input_dict["schema"]),
    )
    suspects = {origin_of(span) for span in new_spans(input_dict["examples"])}
    if anomalous - suspects:
        return set()
    return {span_of(origin) for origin in anomalous}


def _anomalous_origins(
    statistics: standard_artifacts.ExampleStatistics, schema: types.Artifact
) -> set[str]:
    # It can only be imported once tfx has completed tfx_bsl for it.
    import tensorflow_data_validation as tfdv

    curated = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema.uri))
    found = set()
    for split in artifact_utils.decode_split_names(statistics.split_names):
        for dataset in stats_artifact_utils.load_statistics(statistics, split).proto().datasets:
            origin = dataset.name.removeprefix(f"{ORIGIN_FEATURE}_")
            if origin != dataset.name:
                alone = statistics_pb2.DatasetFeatureStatisticsList(datasets=[dataset])
                if tfdv.validate_statistics(alone, curated, environment=None).anomaly_info:
                    found.add(origin)
    return found
