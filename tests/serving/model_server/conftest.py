"""A core that serves the recorded models in this process, as they were served when recorded."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

CONFORMANCE = Path(__file__).parents[1] / "conformance"

MODELS_CONFIG = """
model_config_list {
  config { name: "half_plus" base_path: "$MODELS/half_plus" model_platform: "tensorflow"
           model_version_policy { all {} }
           version_labels { key: "stable" value: 1 } version_labels { key: "canary" value: 2 } }
  config { name: "shapes"  base_path: "$MODELS/shapes"  model_platform: "tensorflow" }
  config { name: "fashion" base_path: "$MODELS/fashion" model_platform: "tensorflow" }
}
"""


@pytest.fixture(scope="session")
def conformance() -> Path:
    """The folder with the recorded exchanges and the models they were recorded with."""
    return CONFORMANCE


@pytest.fixture(scope="session")
def core() -> Iterator[Any]:
    """A ServerCore with the recorded models, polling nothing after the start."""
    from tensorflow.core.protobuf import config_pb2
    from tensorflow_serving.config import model_server_config_pb2

    from serving.model_server.core import CoreOptions, ServerCore
    from serving.model_server.loader import LoaderOptions, SavedModelLoader
    from serving.model_server.metrics import Metrics
    from serving.model_server.state_monitor import State

    metrics = Metrics()
    loader = SavedModelLoader(
        LoaderOptions(config_pb2.ConfigProto(inter_op_parallelism_threads=-1)), metrics
    )
    options = CoreOptions(
        file_system_poll_wait_seconds=0, allow_version_labels_for_unavailable_models=True
    )
    core = ServerCore(loader, options, metrics)
    text = MODELS_CONFIG.replace("$MODELS", str(CONFORMANCE / "models"))
    core.start(text_format.Parse(text, model_server_config_pb2.ModelServerConfig()))
    # A start waits for one version of each model; of half_plus two are served.
    while any(item.state is not State.AVAILABLE for item in core.model_status("half_plus")):
        time.sleep(0.01)
    yield core
    core.stop()
