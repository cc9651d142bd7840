"""AnomalyGate: lets a run pass only when its data is sound."""

import logging
from pathlib import Path
from typing import Any, ClassVar

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts

from components.anomaly_gate.evidence import drifting_spans, spans_to_blame
from components.anomaly_gate.findings import read_findings
from data.refusal import DataRefused

logger = logging.getLogger(__name__)

ANOMALIES_KEY = "anomalies"
DRIFT_KEY = "drift"
FINDINGS_KEY = "findings"
STATISTICS_KEY = "statistics"
SCHEMA_KEY = "schema"
EXAMPLES_KEY = "examples"


class AnomalyGateSpec(component_spec.ComponentSpec):
    """Inputs, outputs and parameters of AnomalyGate."""

    PARAMETERS: ClassVar = {
        # A number, because TFX knows no boolean execution properties.
        "stop_on_drift": component_spec.ExecutionParameter(type=int),
    }
    INPUTS: ClassVar = {
        ANOMALIES_KEY: component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        DRIFT_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleAnomalies, optional=True
        ),
        STATISTICS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics, optional=True
        ),
        SCHEMA_KEY: component_spec.ChannelParameter(type=standard_artifacts.Schema, optional=True),
        EXAMPLES_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.Examples, optional=True
        ),
    }
    OUTPUTS: ClassVar = {
        FINDINGS_KEY: component_spec.ChannelParameter(type=standard_artifacts.JsonValue)
    }


class Executor(base_executor.BaseExecutor):
    """Reads the anomalies and refuses the data, or writes down what it lets pass."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the list of tolerated findings.

        Raises:
            DataRefused: there are anomalies, or there is drift that must stop the run.
        """
        refused = _read(input_dict[ANOMALIES_KEY])
        drift = _read(input_dict.get(DRIFT_KEY) or [])
        blamed = spans_to_blame(input_dict) if refused else set()
        if exec_properties["stop_on_drift"]:
            blamed |= drifting_spans(input_dict.get(DRIFT_KEY) or [])
            refused, drift = refused + drift, []
        if refused:
            raise DataRefused(refused, blamed)
        for finding in drift:
            logger.warning("drift is reported and tolerated: %s", finding)
        findings = artifact_utils.get_single_instance(output_dict[FINDINGS_KEY])
        # TFX's launcher has made this folder, Kubeflow's has not.
        fileio.makedirs(str(Path(findings.uri).parent))
        findings.write(drift)


def _read(artifacts: list[types.Artifact]) -> list[str]:
    return [finding for artifact in artifacts for finding in read_findings(artifact.uri)]


class AnomalyGate(base_component.BaseComponent):
    """Fails with DataRefused, naming split, feature and defect, when the data has anomalies.

    Let what trains come after it (`add_upstream_node`). The output `findings` is a JsonValue: the
    sentences about drift that was tolerated.
    """

    SPEC_CLASS = AnomalyGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        anomalies: types.BaseChannel,
        drift: types.BaseChannel | None = None,
        statistics: types.BaseChannel | None = None,
        schema: types.BaseChannel | None = None,
        examples: types.BaseChannel | None = None,
        *,
        stop_on_drift: bool = True,
    ) -> None:
        """Constructs the component.

        Args:
            anomalies: ExampleAnomalies of an ExampleValidator; each one stops the run.
            drift: ExampleAnomalies of a SpanDistributionValidator.
            statistics: what the anomalies were found in, sliced by origin.
            schema: what they were found with.
            examples: of IdxExampleGen. With these three, a span is blamed for anomalies that it
                has and that no data has which was served from already.
            stop_on_drift: whether drift stops the run, or is only reported.
        """
        super().__init__(
            AnomalyGateSpec(
                anomalies=anomalies,
                drift=drift,
                statistics=statistics,
                schema=schema,
                examples=examples,
                stop_on_drift=int(stop_on_drift),
                findings=types.Channel(type=standard_artifacts.JsonValue),
            )
        )
