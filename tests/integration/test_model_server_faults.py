"""An exception at every call that the server's loops make: it goes on, answers and swaps.

The calls are not listed by hand: a profile function in the server's own threads sees each call that
`serving/model_server` makes to a Python function, first to note where it is made, then to raise
there, one place after the other.
"""

import itertools
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf import text_format

REPOSITORY = Path(__file__).parents[2]
GOOD = REPOSITORY / "tests" / "serving" / "conformance" / "models" / "half_plus" / "1"
OURS = str(REPOSITORY / "serving" / "model_server")
THREADS = ("manager", "source", "load", "batch", "grpc")
# A lock or a version that is not given back, and a line not logged, nobody can survive.
SPARED = (threading.__file__, "/logging/", "/contextlib.py", "/concurrent/futures/", "/grpc/")
SPARED_CALLEES = ("__enter__", "__exit__", "_release", "_Places.give_back")
KINDS = (RuntimeError, MemoryError, OSError, RecursionError, GeneratorExit)
SECONDS = 60


class Site(NamedTuple):
    """A place in the server's code that calls a Python function."""

    thread: str
    file: str
    line: int
    callee: str


class Faults:
    """Sees the calls made in the server's threads; raises at `armed`, once."""

    def __init__(self) -> None:
        self.sites: dict[Site, None] = {}
        self.armed: Site | None = None
        self.fault: BaseException = RuntimeError()

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        caller = frame.f_back
        if event != "call" or caller is None or not caller.f_code.co_filename.startswith(OURS):
            return
        thread = threading.current_thread().name.rstrip("-_0123456789")
        code = frame.f_code
        if thread not in THREADS or any(part in code.co_filename for part in SPARED):
            return
        if code.co_qualname.endswith(SPARED_CALLEES):
            return
        file = Path(caller.f_code.co_filename).name
        site = Site(thread, file, caller.f_lineno, code.co_qualname)
        self.sites[site] = None
        if site == self.armed:
            self.armed = None
            raise self.fault

    def profile_again(self, turn: Callable[..., Any]) -> Callable[..., Any]:
        """Wraps a turn of a loop: to raise in a profile function ends a thread's profiling."""

        def profiled(*arguments: Any) -> Any:
            sys.setprofile(self.profile)
            return turn(*arguments)

        return profiled


class World(NamedTuple):
    """A server in this process: its faults, its base path, and the address of its gRPC API."""

    core: Any
    faults: Faults
    base: Path
    address: str
    config: Any


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    from tensorflow.core.protobuf import config_pb2
    from tensorflow_serving.config import model_server_config_pb2

    from serving.model_server import grpc_server
    from serving.model_server.batching import BatchingOptions, BatchScheduler
    from serving.model_server.core import CoreOptions, ServerCore
    from serving.model_server.grpc_server import GrpcOptions, GrpcServer
    from serving.model_server.grpc_services import Services
    from serving.model_server.loader import LoaderOptions, SavedModelLoader
    from serving.model_server.manager import Manager, ManagerOptions
    from serving.model_server.metrics import Metrics
    from serving.model_server.source import FileSystemSource

    folder = tmp_path_factory.mktemp("faults")
    base, socket = folder / "m", folder / "grpc.sock"
    base.mkdir()
    shutil.copytree(GOOD, base / "1")
    config = text_format.Parse(
        f'model_config_list {{ config {{ name: "m" base_path: "{base}" '
        'model_platform: "tensorflow" } }',
        model_server_config_pb2.ModelServerConfig(),
    )
    faults, metrics = Faults(), Metrics()
    patch = pytest.MonkeyPatch()
    turns: list[tuple[Any, str]] = [
        (Manager, "_take_turn"),
        (FileSystemSource, "poll"),
        (BatchScheduler, "_next_batch"),
        (grpc_server, "_answer"),
    ]
    for owner, name in turns:
        patch.setattr(owner, name, faults.profile_again(getattr(owner, name)))
    scheduler = BatchScheduler(1, metrics=metrics)
    loader = SavedModelLoader(
        LoaderOptions(config_pb2.ConfigProto(), batching=BatchingOptions()), metrics, scheduler
    )
    options = CoreOptions(ManagerOptions(max_num_load_retries=0), file_system_poll_wait_seconds=0)
    core = ServerCore(loader, options, metrics)
    core.start(config)
    server = GrpcServer(Services(core).methods(), GrpcOptions(socket_path=str(socket)))
    server.start()
    yield World(core, faults, base, f"unix:{socket}", config)
    patch.undo()
    server.stop(0)
    core.stop()
    scheduler.stop()


def predict(world: World) -> int:
    """Asks over gRPC, in a thread of the server that is profiled; the version that answered."""
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(1)
    with grpc.insecure_channel(world.address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        answer = stub.Predict(request, timeout=SECONDS)
    assert list(answer.outputs["y"].float_val) == [2.5]
    return int(answer.model_spec.version.value)


def answer_code(world: World) -> grpc.StatusCode:
    try:
        predict(world)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


def eventually(condition: Callable[[], bool], seconds: float, what: str) -> None:
    ending = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ending, what
        time.sleep(0.01)


def swap(world: World, version: int) -> None:
    """Publishes a version, takes the older ones away, and has the server look."""
    staging = world.base / "staging"
    shutil.copytree(GOOD, staging)
    staging.rename(world.base / str(version))
    for child in world.base.iterdir():
        if int(child.name) < version:
            shutil.rmtree(child)
    world.core.reload_config(world.config, is_from_file=True)


def is_served(world: World, version: int) -> bool:
    states = {item.version: item.state.name for item in world.core.model_status("m")}
    return states.pop(version, "") == "AVAILABLE" and set(states.values()) <= {"END"}


def known_sites(world: World, versions: Iterator[int]) -> list[Site]:
    """Where the server makes calls while it swaps and answers."""
    for version in itertools.islice(versions, 2):
        swap(world, version)
        eventually(lambda version=version: is_served(world, version), SECONDS, "no swap at all")
        predict(world)
    return list(world.faults.sites)


def check(world: World, sites: list[Site], versions: Iterator[int]) -> None:
    """Raises at one site after the other; after each, the server must answer and swap."""
    assert {site.thread for site in sites} >= {"manager", "source", "batch", "grpc"}
    fired = 0
    for site, kind in zip(sites, itertools.cycle(KINDS), strict=False):
        world.faults.fault = kind("injected")
        world.faults.armed = site
        tried = next(versions)
        swap(world, tried)
        assert answer_code(world) is not grpc.StatusCode.DEADLINE_EXCEEDED, site
        # A place that a whole swap has not come by is given up.
        eventually(
            lambda tried=tried: not world.faults.armed or is_served(world, tried),
            SECONDS,
            f"neither came by {site} nor swapped",
        )
        fired += world.faults.armed is None
        world.faults.armed = None
        good = next(versions)
        swap(world, good)
        eventually(lambda good=good: is_served(world, good), SECONDS, f"no swap after {site}")
        assert predict(world) == good
    assert fired > 0.8 * len(sites)


@pytest.mark.integration
def test_an_exception_in_any_function_called_ends_neither_answers_nor_swaps(world: World) -> None:
    versions = itertools.count(2)
    sites = {(site.thread, site.callee): site for site in known_sites(world, versions)}
    check(world, list(sites.values()), versions)


@pytest.mark.soak
def test_an_exception_at_any_call_ends_neither_answers_nor_swaps(world: World) -> None:
    versions = itertools.count(1_000_000)
    check(world, known_sites(world, versions), versions)
