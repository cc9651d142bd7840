"""Versions and configs that cannot be served, for `chaos.py`: they come and go."""

import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2

from tests.integration.chaos import GOOD_MODEL, Arena, good_config

# What the server may take to make a good version AVAILABLE after a bad one.
GOOD_VERSION_SECONDS = 5.0
# What a reload may take to be refused.
REFUSAL_SECONDS = 20.0

# What the polled file may do: if it has the same at the time, pushing it changes nothing.
TAKEN_OVER = {
    "a base path without versions",
    "a model that cannot be loaded",
    "a log that only the operator may ask for",
}

BREAKERS: dict[str, Callable[[Path], None]] = {}
"""By name, what turns a folder (a sound version at first) into one that cannot be served."""


def breaker(function: Callable[[Path], None]) -> Callable[[Path], None]:
    BREAKERS[function.__name__] = function
    return function


@breaker
def empty_folder(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


@breaker
def a_file_for_a_folder(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("not a folder")


@breaker
def a_link_to_nowhere(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to("/nowhere")


@breaker
def a_link_to_devices(path: Path) -> None:
    shutil.rmtree(path)
    path.symlink_to("/dev")


@breaker
def graph_cut_short(path: Path) -> None:
    os.truncate(path / "saved_model.pb", 1000)


@breaker
def graph_of_no_bytes(path: Path) -> None:
    os.truncate(path / "saved_model.pb", 0)


@breaker
def graph_of_random_bytes(path: Path) -> None:
    (path / "saved_model.pb").write_bytes(os.urandom(5000))


@breaker
def graph_of_gigabytes(path: Path) -> None:
    os.truncate(path / "saved_model.pb", 2**33)


@breaker
def graph_is_a_folder(path: Path) -> None:
    (path / "saved_model.pb").unlink()
    (path / "saved_model.pb").mkdir()


@breaker
def graph_is_a_pipe(path: Path) -> None:
    (path / "saved_model.pb").unlink()
    os.mkfifo(path / "saved_model.pb")


@breaker
def graph_links_to_itself(path: Path) -> None:
    (path / "saved_model.pb").unlink()
    (path / "saved_model.pb").symlink_to("saved_model.pb")


def _as_text(path: Path, content: bytes) -> None:
    (path / "saved_model.pb").unlink()
    (path / "saved_model.pbtxt").write_bytes(content)


@breaker
def text_that_is_not_utf8(path: Path) -> None:
    _as_text(path, b"\xff\xfe")


@breaker
def text_nested_too_deep(path: Path) -> None:
    _as_text(path, b"meta_graphs { graph_def { library { function { " * 5000)


@breaker
def text_with_a_nul(path: Path) -> None:
    _as_text(path, b'meta_graphs { meta_info_def { tags: "serve\x00" } }\x00')


def _changed(path: Path, change: Callable[[Any], None]) -> None:
    file = path / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    change(saved_model.meta_graphs[0])
    file.write_bytes(saved_model.SerializeToString())


@breaker
def other_tags(path: Path) -> None:
    _changed(path, lambda graph: graph.meta_info_def.tags.append("gpu"))


@breaker
def an_unknown_op(path: Path) -> None:
    _changed(path, lambda graph: graph.graph_def.node.add(name="odd", op="NoSuchOp"))


@breaker
def an_input_from_nowhere(path: Path) -> None:
    _changed(
        path, lambda graph: graph.graph_def.node.add(name="odd", op="Identity", input=["none:0"])
    )


@breaker
def an_unknown_restore_op(path: Path) -> None:
    def change(graph: Any) -> None:
        graph.saver_def.restore_op_name = "no/such/op"

    _changed(path, change)


@breaker
def a_missing_shard(path: Path) -> None:
    next((path / "variables").glob("*.data-*")).unlink()


@breaker
def a_shard_cut_short(path: Path) -> None:
    os.truncate(next((path / "variables").glob("*.data-*")), 1)


@breaker
def an_index_of_random_bytes(path: Path) -> None:
    (path / "variables" / "variables.index").write_bytes(os.urandom(300))


@breaker
def an_index_that_is_a_pipe(path: Path) -> None:
    (path / "variables" / "variables.index").unlink()
    os.mkfifo(path / "variables" / "variables.index")


@breaker
def warmup_that_is_no_record(path: Path) -> None:
    (path / "assets.extra").mkdir()
    (path / "assets.extra" / "tf_serving_warmup_requests").write_bytes(os.urandom(300))


@breaker
def warmup_that_is_a_folder(path: Path) -> None:
    (path / "assets.extra" / "tf_serving_warmup_requests").mkdir(parents=True)


_numbers = itertools.count(2)


def broken_versions(arena: Arena) -> None:
    """Each kind once, in random order, each followed by a good version that must be served."""
    kinds = list(BREAKERS)
    arena.random.shuffle(kinds)
    for kind in kinds:
        if arena.stopping.is_set():
            return
        broken, good = next(_numbers), next(_numbers)
        _publish_broken(arena, kind, broken)
        ended = _wait(arena, lambda broken=broken: arena.states().get(broken, ("",))[0] == "END")
        if arena.stopping.is_set():
            return
        if not ended:
            arena.found(f"{kind}: not END, but {arena.states().get(broken)}")
        elif not arena.states()[broken][1]:
            arena.found(f"{kind}: ended without an error")
        arena.publish_good(good)
        if not _wait(arena, lambda good=good: arena.states().get(good, ("",))[0] == "AVAILABLE"):
            arena.found(f"no good version within {GOOD_VERSION_SECONDS} s of {kind}")
        _remove(arena.base_path / str(broken))
        for child in arena.base_path.iterdir():
            if child.name.isdigit() and int(child.name) < good:
                _remove(child)
        arena.counts[f"broken version: {kind}"] += 1


def _publish_broken(arena: Arena, kind: str, version: int) -> None:
    staging = arena.base_path / ".broken"
    shutil.copytree(GOOD_MODEL, staging)
    BREAKERS[kind](staging)
    staging.rename(arena.base_path / str(version))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _wait(arena: Arena, condition: Callable[[], bool]) -> bool:
    ending = time.monotonic() + GOOD_VERSION_SECONDS
    while not (is_met := condition()) and time.monotonic() < ending:
        if arena.stopping.is_set():
            return True
        time.sleep(0.05)
    return is_met


def _extra(base_path: str, more: str = "", platform: str = "tensorflow") -> str:
    return (
        f'config {{ name: "extra" base_path: "{base_path}" model_platform: "{platform}" {more} }}'
    )


def _broken_models(arena: Arena) -> Iterator[tuple[str, str]]:
    """Kind, and what is added to the model list."""
    folder = arena.config_file.parent
    (folder / "a_file").touch()
    (folder / "broken" / "1").mkdir(parents=True, exist_ok=True)
    (folder / "no_versions").mkdir(exist_ok=True)
    yield "the same name twice", _extra("/x") + _extra("/y")
    yield "a relative base path", _extra("x/y")
    yield "no base path", _extra("")
    yield "a base path that is not there", _extra("/nowhere/at/all")
    yield "a base path that is a file", _extra(str(folder / "a_file"))
    yield "a base path with a NUL", _extra("/x\\000y")
    yield "a base path that is too long", _extra("/x" * 5000)
    yield "a base path without versions", _extra(str(folder / "no_versions"))
    yield "a model that cannot be loaded", _extra(str(folder / "broken"))
    yield "another platform", _extra("/x", platform="tflite")
    yield (
        "a label of no version",
        _extra(str(arena.base_path), 'version_labels {key: "a" value: 9}'),
    )
    yield (
        "an unknown log collector",
        _extra(str(arena.base_path), 'logging_config {log_collector_config {type: "x"}}'),
    )
    yield (
        "a log that only the operator may ask for",
        _extra(
            str(arena.base_path),
            'logging_config {log_collector_config {type: "tfrecord" filename_prefix: "/tmp/x"}}',
        ),
    )


def pushed_configs(arena: Arena) -> None:
    """Broken configs by HandleReloadConfigRequest: each is refused in time, a good one taken."""
    with grpc.insecure_channel(arena.server.address) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        for kind, more in _broken_models(arena):
            if arena.stopping.wait(0.2):
                return
            code = _push(stub, good_config(arena.base_path, more), REFUSAL_SECONDS)
            is_refused = code is not grpc.StatusCode.OK or kind in TAKEN_OVER
            if not is_refused or code is grpc.StatusCode.DEADLINE_EXCEEDED:
                arena.found(f"pushed config with {kind}: {code.name}")
            if (code := _push(stub, good_config(arena.base_path), REFUSAL_SECONDS)) is not _OK:
                arena.found(f"a good config after one with {kind}: {code.name}")
            arena.counts[f"pushed config: {kind}"] += 1


_OK = grpc.StatusCode.OK


def _push(stub: Any, text: str, timeout: float) -> grpc.StatusCode:
    request = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, request.config, descriptor_pool=model_server_config_pb2.DESCRIPTOR.pool)
    try:
        stub.HandleReloadConfigRequest(request, timeout=timeout)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return _OK


def polled_configs(arena: Arena) -> None:
    """Broken contents of the polled config file; a good one is always there again afterwards."""
    file = arena.config_file
    good = good_config(arena.base_path).encode()
    broken = [
        b"",
        b"nonsense",
        b"\xff\xfe",
        good[:-5],
        b"model_config_list { " * 5000,
        b"custom_model_config { }",
        *(good_config(arena.base_path, more).encode() for _, more in _broken_models(arena)),
    ]
    for content in broken:
        if arena.stopping.is_set():
            return
        _replace(file, content)
        arena.stopping.wait(1.2)
        _replace(file, good)
        arena.counts["polled configs"] += 1
    file.unlink()
    file.mkdir()
    arena.stopping.wait(1.2)
    file.rmdir()
    _replace(file, good)


def _replace(file: Path, content: bytes) -> None:
    new = file.with_suffix(".new")
    new.write_bytes(content)
    new.rename(file)
