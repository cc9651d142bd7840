"""Loads a SavedModel into a session, the way TensorFlow's C++ loader does.

The C++ loader (`tensorflow/cc/saved_model/loader.cc`) is what TensorFlow Serving calls; Python has
no binding for it. `tf.compat.v1.saved_model.load` restores the same state but words its errors
differently and builds collections that serving never reads.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from google.protobuf import message, text_format
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from serving.model_server.bounded_graph import is_bounded
from serving.model_server.errors import Code, ServingError, as_serving_error

_INIT_OP_SIGNATURE = "__saved_model_init_op"
_MAX_PROTOBUF_BYTES = 2**31 - 1
_LEGACY_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")


@dataclass(frozen=True)
class LoadedModel:
    """A restored session and what serving needs to know of its graph.

    `is_bounded` says that how long a run takes follows from its inputs' sizes.

    The two stages of the load, in microseconds: `restore_graph_micros` until the variables are
    restored, then `init_graph_micros` for what initializes tables.
    """

    session: Any
    signatures: Mapping[str, Any]
    is_bounded: bool
    restore_graph_micros: int
    init_graph_micros: int


def load_saved_model(path: Path, tags: Sequence[str], session_config: Any) -> LoadedModel:
    """Restores the meta graph of `path` that carries exactly `tags`.

    `session_config` is a ConfigProto. Raises ServingError with the code and text that TensorFlow
    Serving reports for a missing, unreadable or inconsistent SavedModel.
    """
    started = time.monotonic()
    _check_files(path)
    meta_graph = _meta_graph(_read_saved_model(path), frozenset(tags), path)
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph, config=session_config)
    try:
        with graph.as_default():
            tf.graph_util.import_graph_def(meta_graph.graph_def, name="")
        assets = _asset_feeds(meta_graph, path)
        _restore_variables(session, meta_graph.saver_def, path, assets)
        restored = time.monotonic()
        _initialize(session, meta_graph, assets)
    except (ValueError, KeyError, TypeError) as error:
        session.close()
        raise ServingError(Code.INVALID_ARGUMENT, f"{error}. Model path: {path}") from error
    except ServingError:
        session.close()
        raise
    except BaseException as error:
        session.close()
        raise as_serving_error(error) from error
    return LoadedModel(
        session=session,
        signatures=dict(meta_graph.signature_def),
        is_bounded=is_bounded(meta_graph.graph_def),
        restore_graph_micros=round((restored - started) * 1e6),
        init_graph_micros=round((time.monotonic() - restored) * 1e6),
    )


def _check_files(path: Path) -> None:
    """Refuses what would block a read for ever (FIFOs, devices) or cannot be a protobuf."""
    for file in [path, *path.rglob("*")]:
        mode = file.stat().st_mode if file.exists() else 0
        if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ServingError(Code.FAILED_PRECONDITION, f"{file} is not a regular file")
    binary = path / "saved_model.pb"
    if binary.exists() and binary.stat().st_size > _MAX_PROTOBUF_BYTES:
        raise ServingError(Code.OUT_OF_RANGE, f"{binary} is larger than 2 GiB")


def _read_saved_model(path: Path) -> Any:
    saved_model = saved_model_pb2.SavedModel()
    binary, text = path / "saved_model.pb", path / "saved_model.pbtxt"
    try:
        if binary.exists():
            saved_model.ParseFromString(binary.read_bytes())
        elif text.exists():
            text_format.Parse(text.read_text(encoding="utf-8"), saved_model)
        else:
            raise ServingError(
                Code.NOT_FOUND,
                "Specified file path does not appear to contain a SavedModel bundle "
                "(should have a file called `saved_model.pb`)\n"
                f"Specified file path: {path}",
            )
    except message.DecodeError as error:
        # What TensorFlow's file reader says of a protobuf it cannot parse up to its end.
        raise ServingError(Code.OUT_OF_RANGE, "Read less bytes than requested") from error
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise ServingError(Code.DATA_LOSS, f"Can't parse {text} as text proto") from error
    except OSError as error:
        where = error.filename or path
        raise ServingError(Code.UNKNOWN, f"{where}: {error.strerror}") from error
    return saved_model


def _meta_graph(saved_model: Any, tags: frozenset[str], path: Path) -> Any:
    for meta_graph in saved_model.meta_graphs:
        if frozenset(meta_graph.meta_info_def.tags) == tags:
            return meta_graph
    raise ServingError(
        Code.NOT_FOUND,
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(sorted(tags))} }}. "
        "To inspect available tag-sets in the SavedModel, please use the SavedModel CLI: "
        f"`saved_model_cli`. Model path: {path}",
    )


def _restore_variables(session: Any, saver: Any, path: Path, assets: dict[str, str]) -> None:
    """A SavedModel without variables has no index file, and nothing to restore."""
    if not (path / "variables" / "variables.index").exists():
        if not path.exists():
            raise ServingError(Code.NOT_FOUND, f"{path} was removed while it was being loaded")
        return
    if saver.restore_op_name:
        variables = str(path / "variables" / "variables")
        session.run(saver.restore_op_name, {saver.filename_tensor_name: variables} | assets)


def _initialize(session: Any, meta_graph: Any, assets: dict[str, str]) -> None:
    init_op = _init_op_name(meta_graph)
    if init_op:
        session.run(session.graph.get_operation_by_name(init_op.partition(":")[0]), assets)


def _asset_feeds(meta_graph: Any, path: Path) -> dict[str, str]:
    if meta_graph.asset_file_def:
        asset_files = list(meta_graph.asset_file_def)
    else:
        asset_files = [
            _unpack(asset, meta_graph_pb2.AssetFileDef())
            for asset in meta_graph.collection_def["saved_model_assets"].any_list.value
        ]
    return {asset.tensor_info.name: str(path / "assets" / asset.filename) for asset in asset_files}


def _init_op_name(meta_graph: Any) -> str:
    if _INIT_OP_SIGNATURE in meta_graph.signature_def:
        return meta_graph.signature_def[_INIT_OP_SIGNATURE].outputs[_INIT_OP_SIGNATURE].name
    for collection in _LEGACY_INIT_COLLECTIONS:
        if collection in meta_graph.collection_def:
            return meta_graph.collection_def[collection].node_list.value[0]
    return ""


def _unpack(packed: Any, into: Any) -> Any:
    packed.Unpack(into)
    return into
