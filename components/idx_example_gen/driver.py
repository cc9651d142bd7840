"""Chooses the spans before TFX looks into its cache."""

from tfx.components.example_gen import utils as example_gen_utils
from tfx.dsl.components.base import base_driver as dsl_base_driver
from tfx.orchestration import data_types_utils, metadata
from tfx.orchestration.portable import base_driver, data_types
from tfx.proto.orchestration import driver_output_pb2
from tfx.types.standard_component_specs import EXAMPLES_KEY

from components.idx_example_gen import parameters
from data.spans import Choice


class Driver(dsl_base_driver.BaseDriver, base_driver.BaseDriver):
    """Makes the cache key depend on the spans that are read and on every byte in them.

    What they were chosen by is taken out of the key: a bad span that comes and is quarantined
    leaves the key as it was. Defects are left to the executor, whose failure TFX records as one.
    """

    def __init__(self, metadata_handle: metadata.Metadata) -> None:
        # A component accepts only the first kind of driver, the launcher runs only the second.
        dsl_base_driver.BaseDriver.__init__(self, metadata_handle)
        base_driver.BaseDriver.__init__(self, metadata_handle)

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        layout = parameters.resolve(execution_info.exec_properties)
        resolved = {
            "spans": parameters.as_property(Choice(layout.spans, layout.new_spans)),
            "window": parameters.ALL_SPANS,
            "last_span": parameters.NO_LAST_SPAN,
            "serving_dir": "",
            example_gen_utils.SPAN_PROPERTY_NAME: layout.newest_span,
            example_gen_utils.FINGERPRINT_PROPERTY_NAME: layout.fingerprint(),
        }
        output = driver_output_pb2.DriverOutput()
        for name, value in resolved.items():
            data_types_utils.set_metadata_value(output.exec_properties[name], value)
        artifact = execution_info.output_dict[EXAMPLES_KEY][0]
        artifact.span = layout.newest_span
        output.output_artifacts[EXAMPLES_KEY].artifacts.append(artifact.mlmd_artifact)
        return output
