"""ServedModel: the model that is being served now, as the baseline that the next one must beat.

It stands where TFX pipelines have a Resolver for the latest blessed model, but asks the serving
directory: a version that was refused or rolled back is not a baseline. What it emits is a copy, so
that retention or a rollback during the run cannot take the baseline away.
"""

import json
import logging
import re
from collections.abc import Sequence
from typing import Any, ClassVar

from tensorflow.core.protobuf import saved_model_pb2
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import execution_result_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.component_spec import ChannelParameter, ComponentSpec, ExecutionParameter
from tfx.utils import io_utils, path_utils

from components.cache_key_driver import CacheKeyDriver
from components.vocabulary import read_vocabulary
from serving.versions.store import Version, VersionStore

logger = logging.getLogger(__name__)

MODEL_KEY = "model"
STATISTICS_KEY = "statistics"
NEWEST_KEY = "newest"
SERVING_DIR_KEY = "serving_dir"
SERVED_KEY = "served"
SIGNATURE_KEY = "signature"
LABELS_KEY = "labels"
WITH_NEWEST_KEY = "with_newest"

VERSION_PROPERTY = "version"

# Of the signature: [examples, classes].
_OUTPUT = "probabilities"


class BaselineError(Exception):
    """The served model cannot be a baseline; the message is for the user."""


class ServedModelSpec(ComponentSpec):
    """Inputs, outputs and parameters of ServedModel."""

    PARAMETERS: ClassVar[dict[str, ExecutionParameter]] = {
        SERVING_DIR_KEY: ExecutionParameter(type=str),
        SERVED_KEY: ExecutionParameter(type=str, optional=True),
        SIGNATURE_KEY: ExecutionParameter(type=str, optional=True),
        LABELS_KEY: ExecutionParameter(type=str, optional=True),
        WITH_NEWEST_KEY: ExecutionParameter(type=int, optional=True),
    }
    INPUTS: ClassVar[dict[str, ChannelParameter]] = {}
    OUTPUTS: ClassVar[dict[str, ChannelParameter]] = {
        MODEL_KEY: ChannelParameter(type=standard_artifacts.Model),
        STATISTICS_KEY: ChannelParameter(type=standard_artifacts.ExampleStatistics),
        NEWEST_KEY: ChannelParameter(type=standard_artifacts.Model),
    }


class Driver(CacheKeyDriver):
    """Makes what is served now a part of the node's cache key.

    The same served version is then the same artifact in every run, and what depends on it is not
    done again; anything else that is served is a new one.
    """

    def cache_key(self, execution_info: data_types.ExecutionInfo) -> dict[str, int | str]:
        """Returns the served version and the digests of its files."""
        newest = VersionStore(execution_info.exec_properties[SERVING_DIR_KEY]).newest_served()
        if newest is None or newest.record is None:
            return {SERVED_KEY: "nothing"}
        return {SERVED_KEY: newest.record.model_dump_json(include={"version", "checksums"})}


class Executor(base_executor.BaseExecutor):
    """Copies the served model and its training statistics into the output artifacts."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> execution_result_pb2.ExecutorOutput:
        """Emits one artifact for each output, or none while nothing suitable is served.

        A version that was pushed without statistics gives a model and no statistics.

        Raises:
            BaselineError: the served model does not have the signature it is to be evaluated by.
        """
        store = VersionStore(exec_properties[SERVING_DIR_KEY])
        newest = store.newest_served()
        result = execution_result_pb2.ExecutorOutput()
        # An empty list, unlike an absent one, withdraws the artifacts that TFX prepared.
        models = result.output_artifacts[MODEL_KEY]
        statistics = result.output_artifacts[STATISTICS_KEY]
        newest_models = result.output_artifacts[NEWEST_KEY]
        if newest is None:
            logger.info("no version is served from %s: no baseline", store.storage.base)
            return result
        if exec_properties.get(WITH_NEWEST_KEY):
            model = artifact_utils.get_single_instance(output_dict[NEWEST_KEY])
            _copy_model(newest, model)
            newest_models.artifacts.append(model.mlmd_artifact)
        difference = _other_classes(
            newest,
            exec_properties.get(SIGNATURE_KEY),
            json.loads(exec_properties.get(LABELS_KEY) or "[]"),
        )
        if difference:
            logger.warning("version %d is not the baseline: %s", newest.number, difference)
            return result
        model = artifact_utils.get_single_instance(output_dict[MODEL_KEY])
        _copy_model(newest, model)
        models.artifacts.append(model.mlmd_artifact)
        kept = store.statistics(newest.number)
        if kept is not None:
            copy = artifact_utils.get_single_instance(output_dict[STATISTICS_KEY])
            _copy_statistics(kept, newest, copy)
            statistics.artifacts.append(copy.mlmd_artifact)
        logger.info("version %d of %s is the baseline", newest.number, store.storage.base)
        return result


def _other_classes(version: Version, signature: str | None, labels: list[str]) -> str:
    """Says how the classes of a version differ from `labels`; empty: they do not.

    A version that does not name its classes is told by their number.
    """
    class_count = _class_count(version, signature) if signature else None
    known = read_vocabulary(str(version.directory))
    if not labels or known == labels or (not known and class_count in (None, len(labels))):
        return ""
    theirs = ", ".join(known) or f"{class_count} classes"
    return f"the served model knows {theirs}; this one knows {', '.join(labels)}: not compared"


def _class_count(version: Version, signature: str) -> int | None:
    saved_model = saved_model_pb2.SavedModel()
    with fileio.open(f"{version.directory}/saved_model.pb", "rb") as file:
        saved_model.ParseFromString(file.read())
    found = [graph for graph in saved_model.meta_graphs if signature in graph.signature_def]
    if not found:
        raise BaselineError(
            f"the served version {version.number} has no signature {signature}, so the new model "
            "cannot be compared with it; run once with --no-baseline"
        )
    dimensions = found[0].signature_def[signature].outputs[_OUTPUT].tensor_shape.dim
    return dimensions[-1].size if dimensions and dimensions[-1].size >= 0 else None


def _copy_model(version: Version, model: types.Artifact) -> None:
    io_utils.copy_dir(version.directory, path_utils.serving_model_dir(model.uri))
    model.set_int_custom_property(VERSION_PROPERTY, version.number)


def _copy_statistics(kept: str, version: Version, statistics: types.Artifact) -> None:
    io_utils.copy_dir(kept, statistics.uri)
    splits = (re.fullmatch(r"Split-([^/]+)/?", name) for name in sorted(fileio.listdir(kept)))
    names = [split[1] for split in splits if split]
    statistics.split_names = artifact_utils.encode_split_names(names)
    statistics.set_int_custom_property(VERSION_PROPERTY, version.number)


class ServedModel(base_component.BaseComponent):
    """Emits the newest served version as `model` and what it was trained on as `statistics`.

    While nothing is served, or a model of other classes or of the same in another order, it emits
    neither: there is nothing to compare with. As `newest`, where it is asked for, it emits the
    version in any case: a training can begin with what it knows. Give
    `outputs["statistics"].as_optional()` to a component that does not itself declare its input
    optional.
    """

    SPEC_CLASS = ServedModelSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)
    DRIVER_CLASS = Driver

    def __init__(
        self,
        serving_dir: str,
        signature: str | None = None,
        labels: Sequence[str] = (),
        *,
        with_newest: bool = False,
    ) -> None:
        """Makes the node.

        Args:
            serving_dir: the model's base directory or URI, `<serving_dir>/<version>/`.
            signature: that the served model must have to be evaluated; None: it is not looked at.
            labels: the classes that the served model must know, in the order of their ids; empty:
                any.
            with_newest: whether `newest` is emitted.
        """
        super().__init__(
            spec=ServedModelSpec(
                serving_dir=serving_dir,
                signature=signature,
                labels=json.dumps(list(labels)),
                with_newest=int(with_newest),
                model=types.Channel(type=standard_artifacts.Model),
                statistics=types.Channel(type=standard_artifacts.ExampleStatistics),
                newest=types.Channel(type=standard_artifacts.Model),
            )
        )
