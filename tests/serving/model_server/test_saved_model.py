"""What the loader says of SavedModels that cannot be loaded, and of those that can."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, saved_model_pb2

from serving.model_server.errors import Code, ServingError
from serving.model_server.saved_model import LoadedModel, load_saved_model
from serving.model_server.servable import SessionRunner, Step

Load = Callable[..., LoadedModel]


@pytest.fixture
def load() -> Load:
    config = config_pb2.ConfigProto(inter_op_parallelism_threads=-1)
    return lambda path, tags=("serve",): load_saved_model(path, tags, config)


@pytest.fixture
def version(conformance: Path, tmp_path: Path) -> Path:
    return shutil.copytree(conformance / "models" / "half_plus" / "1", tmp_path / "1")


def refusal_of(load: Load, path: Path, **options: Any) -> ServingError:
    with pytest.raises(ServingError) as refusal:
        load(path, **options)
    return refusal.value


def test_a_folder_without_a_saved_model_is_not_found(load: Load, tmp_path: Path) -> None:
    error = refusal_of(load, tmp_path)
    assert error.code == Code.NOT_FOUND
    assert error.message == (
        "Specified file path does not appear to contain a SavedModel bundle "
        "(should have a file called `saved_model.pb`)\n"
        f"Specified file path: {tmp_path}"
    )


@pytest.mark.parametrize("content", [b"no protobuf", None])
def test_a_damaged_saved_model_is_out_of_range(
    load: Load, version: Path, content: bytes | None
) -> None:
    file = version / "saved_model.pb"
    file.write_bytes(content or file.read_bytes()[:-100])
    error = refusal_of(load, version)
    assert (error.code, error.message) == (
        Code.OUT_OF_RANGE,
        "Read less bytes than requested",
    )


def test_other_tags_than_the_graphs_are_not_found(load: Load, version: Path) -> None:
    error = refusal_of(load, version, tags=("serve", "gpu"))
    assert error.code == Code.NOT_FOUND
    assert error.message.startswith(
        "Could not find meta graph def matching supplied tags: { gpu serve }"
    )


def test_damaged_variables_fail_with_the_kernels_error(load: Load, version: Path) -> None:
    (version / "variables" / "variables.data-00000-of-00001").write_bytes(b"")
    assert refusal_of(load, version).code in (Code.OUT_OF_RANGE, Code.DATA_LOSS)


def test_a_version_removed_while_it_is_loaded_is_not_served_without_its_variables(
    load: Load, version: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_graph_def = tf.graph_util.import_graph_def

    def import_and_remove(*args: Any, **options: Any) -> None:
        import_graph_def(*args, **options)
        shutil.rmtree(version)

    monkeypatch.setattr(tf.graph_util, "import_graph_def", import_and_remove)
    error = refusal_of(load, version)
    assert (error.code, error.message) == (
        Code.NOT_FOUND,
        f"{version} was removed while it was being loaded",
    )


def test_an_unknown_op_fails_the_load(load: Load, version: Path) -> None:
    file = version / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    saved_model.meta_graphs[0].graph_def.node.add(name="odd", op="NoSuchOp")
    file.write_bytes(saved_model.SerializeToString())
    error = refusal_of(load, version)
    assert error.code in (Code.NOT_FOUND, Code.INVALID_ARGUMENT)
    assert "NoSuchOp" in error.message


def test_tables_and_assets_are_initialized(load: Load, tmp_path: Path) -> None:
    vocabulary = tmp_path / "vocabulary.txt"
    vocabulary.write_text("a\nb\n")

    class Lookup(tf.Module):
        def __init__(self) -> None:
            self.table = tf.lookup.StaticHashTable(
                tf.lookup.TextFileInitializer(
                    str(vocabulary),
                    tf.string,
                    tf.lookup.TextFileIndex.WHOLE_LINE,
                    tf.int64,
                    tf.lookup.TextFileIndex.LINE_NUMBER,
                ),
                default_value=-1,
            )

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def look_up(self, word: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"index": self.table.lookup(word)}

    module = Lookup()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=module.look_up)
    vocabulary.unlink()
    loaded = load(tmp_path / "1")
    signature = loaded.signatures["serving_default"]
    step = Step((signature.inputs["word"].name,), (signature.outputs["index"].name,))
    runner = SessionRunner(loaded.session)
    [index] = runner.run(step, [np.array([b"b", b"a", b"z"], object)])
    runner.close()
    assert index.tolist() == [1, 0, -1]
    # As a batch does whose requests were all given up before the version went.
    with pytest.raises(ServingError, match="closed"):
        runner.run(step, [np.array([b"b"], object)])
