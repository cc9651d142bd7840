"""A driver for nodes whose result depends on more than their inputs and parameters say."""

from tfx.dsl.components.base import base_driver as component_driver
from tfx.orchestration import data_types_utils, metadata
from tfx.orchestration.portable import base_driver, data_types
from tfx.proto.orchestration import driver_output_pb2


class CacheKeyDriver(component_driver.BaseDriver, base_driver.BaseDriver):
    """Adds execution properties before TFX looks into its cache, whose key they are part of."""

    def __init__(self, metadata_handle: metadata.Metadata) -> None:
        # A component accepts only the first kind of driver, the launcher runs only the second.
        component_driver.BaseDriver.__init__(self, metadata_handle)
        base_driver.BaseDriver.__init__(self, metadata_handle)

    def cache_key(self, execution_info: data_types.ExecutionInfo) -> dict[str, int | str]:
        """Returns the execution properties to add, by name; each subclass says which."""
        raise NotImplementedError

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """Returns what `cache_key` says, in the form that TFX's launcher reads."""
        output = driver_output_pb2.DriverOutput()
        for name, value in self.cache_key(execution_info).items():
            data_types_utils.set_metadata_value(output.exec_properties[name], value)
        return output
