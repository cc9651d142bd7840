"""Chooses the spans before TFX looks into its cache."""

from tfx.components.example_gen import utils as example_gen_utils
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import driver_output_pb2
from tfx.types.standard_component_specs import EXAMPLES_KEY

from components.cache_key_driver import CacheKeyDriver
from components.idx_example_gen import parameters
from data.spans import Choice


class Driver(CacheKeyDriver):
    """Makes the cache key depend on the spans that are read and on every byte in them.

    What they were chosen by is taken out of the key: a bad span that comes and is quarantined
    leaves the key as it was. Defects are left to the executor, whose failure TFX records as one.
    """

    def cache_key(self, execution_info: data_types.ExecutionInfo) -> dict[str, int | str]:
        """Returns the spans, a digest of their files, and a window that says no more."""
        layout = parameters.resolve(execution_info.exec_properties)
        return {
            "spans": parameters.as_property(Choice(layout.spans, layout.new_spans)),
            "window": parameters.ALL_SPANS,
            "last_span": parameters.NO_LAST_SPAN,
            "serving_dir": "",
            example_gen_utils.SPAN_PROPERTY_NAME: layout.newest_span,
            example_gen_utils.FINGERPRINT_PROPERTY_NAME: layout.fingerprint(),
        }

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """Writes the newest span into the output artifact as well."""
        output = super().run(execution_info)
        artifact = execution_info.output_dict[EXAMPLES_KEY][0]
        span = output.exec_properties[example_gen_utils.SPAN_PROPERTY_NAME]
        artifact.span = span.int_value
        output.output_artifacts[EXAMPLES_KEY].artifacts.append(artifact.mlmd_artifact)
        return output
