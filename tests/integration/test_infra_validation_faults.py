"""The fault table: every kind of bad model and bad server is refused, with the right sentence.

Faults of the model are tried on one running embedded server, which loads each of them as a model
of its own; faults of the server have a server of their own.
"""

import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import grpc
import psutil
import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc

from components.infra_validator import validation
from components.infra_validator.blessing import Blessing
from components.infra_validator.loading import wait_for_version
from components.infra_validator.spec import Limits
from serving.launch import process
from serving.launch.base import ModelServer, ServerKind, free_ports
from serving.launch.ownership import OWNER_VARIABLE, owner_mark
from serving.launch.process import EmbeddedServer
from serving.launch.selection import Choice
from tests.tiny_models import LABELS, GreyClassifier, grey_examples, grey_spec, save

pytestmark = pytest.mark.integration


class SharedServer(ModelServer):
    """Hands each validation a model of its own on a server that is running already."""

    description = "shared"

    def __init__(self, server: EmbeddedServer, base: Path) -> None:
        self._server = server
        self._models = {"sound": base}
        self.grpc_address = server.grpc_address
        self.rest_url = server.rest_url

    def start(self, base: Path, model_name: str) -> None:
        self._configure(self._models | {model_name: base})

    def stop(self) -> None:
        self._configure(self._models)

    def is_running(self) -> bool:
        return self._server.is_running()

    def log_tail(self, lines: int = 20) -> list[str]:
        return self._server.log_tail(lines)

    def memory_megabytes(self) -> float:
        return self._server.memory_megabytes()

    def _configure(self, models: dict[str, Path]) -> None:
        request = model_management_pb2.ReloadConfigRequest()
        for name, base in models.items():
            config = request.config.model_config_list.config.add()
            config.name, config.base_path, config.model_platform = name, str(base), "tensorflow"
        with grpc.insecure_channel(self.grpc_address) as channel:
            stub = model_service_pb2_grpc.ModelServiceStub(channel)
            # An answer to a model that cannot be loaded is an error of this call, too.
            stub.HandleReloadConfigRequest(request, timeout=60)


@pytest.fixture(scope="module")
def sound_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(GreyClassifier(), tmp_path_factory.mktemp("sound") / "1")


@pytest.fixture(scope="module")
def shared_server(
    sound_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SharedServer]:
    base = tmp_path_factory.mktemp("shared") / "sound"
    shutil.copytree(sound_model, base / "1")
    # The names of models come and go with their configuration, so it cannot be left to flags.
    config = base.parent / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "sound" base_path: "{base}" '
        'model_platform: "tensorflow" } }'
    )
    server = EmbeddedServer()
    server.command = lambda: [  # type: ignore[method-assign]
        *EmbeddedServer.command(server),
        f"--model_config_file={config}",
    ]
    server.start(base, "sound")
    try:
        wait_for_version(server, "sound", 1, 0.0, float("inf"))
        yield SharedServer(server, base)
    finally:
        server.stop()


Validate = Callable[..., Blessing]
_numbers = count(1)


@pytest.fixture
def validate(tmp_path: Path) -> Iterator[Validate]:
    """Validates a model; afterwards nothing may be left of it but the verdict."""
    work_dir, stamped = tmp_path / "work", tmp_path / "stamped"

    def run(model: Path, **changes: object) -> Blessing:
        spec = grey_spec(**({"work_dir": work_dir} | changes))
        blessing = validation.validate(model, grey_examples(20), spec, stamped)
        assert stamped.exists() == blessing.blessed
        return blessing

    yield run
    assert not work_dir.exists() or not list(work_dir.iterdir())


@pytest.fixture
def validate_shared(
    validate: Validate, shared_server: SharedServer, monkeypatch: pytest.MonkeyPatch
) -> Validate:
    choice = Choice(ServerKind.EMBEDDED, shared_server, "shared")
    monkeypatch.setattr(validation, "choose_server", lambda *_: choice)
    return lambda model, **changes: validate(
        model, **({"model_name": f"model-{next(_numbers)}"} | changes)
    )


def busy(probabilities: tf.Tensor) -> tf.Tensor:
    matrix = tf.random.stateless_uniform([256, 256], [1, 2])
    _, result = tf.while_loop(
        lambda step, _: step < 200,
        lambda step, value: (step + 1, tf.linalg.matmul(value, matrix) / 256),
        (tf.constant(0), matrix),
    )
    return probabilities + 0 * tf.reduce_mean(result)


def test_a_sound_model_is_blessed(validate_shared: Validate, sound_model: Path) -> None:
    blessing = validate_shared(sound_model)

    assert blessing.reasons == []
    assert blessing.blessed
    assert blessing.checksums.keys() > {"saved_model.pb", "variables/variables.index"}
    assert "assets.extra/tf_serving_warmup_requests" in blessing.checksums
    assert set(blessing.measurements.latency) == set(grey_spec().requests)


MODEL_FAULTS = {
    "untrained": (GreyClassifier(trained=False), "4 of 20 sampled .* the model looks untrained"),
    "wrong output shape": (
        GreyClassifier(spoil=lambda p: p[:, :4] / tf.reduce_sum(p[:, :4], 1, keepdims=True)),
        r"has shape \[8, 4\], expected \[8, 5\]",
    ),
    "no batch dimension": (
        GreyClassifier(spoil=lambda p: tf.reduce_mean(p, 0, keepdims=True)),
        "shape .* for 8 examples|INVALID_ARGUMENT",
    ),
    "wrong labels": (
        GreyClassifier(labels=["noir", *LABELS[1:]]),
        r"labels outside the vocabulary: \['noir'\]",
    ),
    "shuffled labels": (GreyClassifier(labels=LABELS[::-1]), "expected .*, got|looks untrained"),
    "NaN outputs": (GreyClassifier(spoil=lambda p: p * float("nan")), "holds NaN"),
    "unnormalised outputs": (GreyClassifier(spoil=lambda p: p * 2), "sums to 2.0000, expected 1"),
}


@pytest.mark.parametrize("fault", MODEL_FAULTS)
def test_a_model_that_answers_wrongly_is_refused(
    fault: str, validate_shared: Validate, tmp_path: Path
) -> None:
    model, says = MODEL_FAULTS[fault]

    blessing = validate_shared(save(model, tmp_path / "model"))

    assert not blessing.blessed
    assert blessing.reasons[0].startswith("embedded model server: Signature ")
    assert_says(blessing, says)


def test_missing_variables_are_refused(
    validate_shared: Validate, sound_model: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(sound_model, tmp_path / "model"))
    shutil.rmtree(model / "variables")

    # TensorFlow Serving takes a model without variables for one that has none, and loads it.
    assert_says(validate_shared(model), "TensorFlow cannot load the model: .*variables")


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(max_memory_megabytes=50), r"resident memory is \d+\.\d MB, the limit is 50 MB"),
        (Limits(max_median_latency_ms=0.001), r"p50 latency of .* ms, the limit is 0.001 ms"),
    ],
)
def test_a_model_beyond_a_limit_is_refused(
    limits: Limits, says: str, validate_shared: Validate, sound_model: Path
) -> None:
    assert_says(validate_shared(sound_model, limits=limits), says)


def test_a_slow_model_is_refused(validate_shared: Validate, tmp_path: Path) -> None:
    model = save(GreyClassifier(spoil=busy), tmp_path / "model")

    blessing = validate_shared(model, limits=Limits(max_latency_ms=5))

    assert_says(blessing, r"p99 latency of serving_default is .* ms, the limit is 5 ms")


def test_a_corrupt_graph_is_refused_before_a_server_is_started(
    validate: Validate, sound_model: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(sound_model, tmp_path / "model"))
    (model / "saved_model.pb").write_bytes(b"\x00\xff" * 100)

    assert_says(validate(model), "saved_model.pb cannot be read")


def test_a_missing_signature_is_refused_before_a_server_is_started(
    validate: Validate, tmp_path: Path
) -> None:
    model = save(GreyClassifier(), tmp_path / "model", without="predict_bytes")

    assert_says(validate(model), "Signature predict_bytes is missing; the model has classify, ")


def test_a_wrong_method_name_is_refused_before_a_server_is_started(
    validate: Validate, tmp_path: Path
) -> None:
    model = save(GreyClassifier(), tmp_path / "model", method_names=False)

    assert_says(
        validate(model),
        "Signature classify has method name tensorflow/serving/predict, "
        "expected tensorflow/serving/classify",
    )


def test_a_large_model_is_refused_before_a_server_is_started(
    validate: Validate, sound_model: Path
) -> None:
    blessing = validate(sound_model, limits=Limits(max_model_megabytes=0.01))

    assert_says(blessing, r"size on disk is 0\.\d MB, the limit is 0.01 MB")


def test_a_server_that_dies_under_requests_is_told_from_one_that_answers(
    validate: Validate, tmp_path: Path
) -> None:
    def abort(probabilities: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([tf.raw_ops.Abort(error_msg="out of luck")]):
            return tf.identity(probabilities)

    blessing = validate(save(GreyClassifier(spoil=abort), tmp_path / "model"))

    assert_says(blessing, "Signature .* over gRPC, request for examples 0 to 7: UNAVAILABLE")
    assert_nothing_runs()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("exec sleep 100", r"not AVAILABLE within 0.5 s \(max_load_seconds\); the server said"),
        ("echo no such CPU; exit 3", "The server ended before .* Its last line: no such CPU"),
    ],
)
def test_a_server_that_never_starts_is_given_up(
    script: str,
    says: str,
    validate: Validate,
    sound_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_binary(tmp_path, script, monkeypatch)

    blessing = validate(
        sound_model,
        model_server=ServerKind.BINARY,
        limits=Limits(max_load_seconds=0.5 if "sleep" in script else 60),
    )

    assert_says(blessing, says)
    assert_nothing_runs()


_BIND_OR_FAIL = """
import socket, sys
socket.create_server(("127.0.0.1", int(sys.argv[1].removeprefix("--port="))))
"""


def test_a_port_that_was_taken_meanwhile_is_replaced_by_another(
    validate: Validate, sound_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = f"{sys.executable} -c '{_BIND_OR_FAIL}' $1 && {sys.executable} -m serving.model_server"
    install_binary(tmp_path, f'{server} "$@"', monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with socket.create_server(("127.0.0.1", 0)) as occupied:
        taken = [occupied.getsockname()[1], free_ports(1)[0]]
        answers = iter([taken])
        monkeypatch.setattr(process, "free_ports", lambda *a: next(answers, None) or free_ports(*a))

        blessing = validate(sound_model, model_server=ServerKind.BINARY)

    assert blessing.blessed
    assert blessing.server_choice.startswith(f"binary {tmp_path}")
    assert_nothing_runs()


def install_binary(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "tensorflow_model_server"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def assert_says(blessing: Blessing, pattern: str) -> None:
    assert not blessing.blessed
    assert re.search(pattern, " ".join(blessing.reasons)), blessing.reasons


def assert_nothing_runs() -> None:
    """No server of this process is left, not even one that a wrapper script had started."""
    left = []
    for each in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            if each.environ().get(OWNER_VARIABLE) == owner_mark():
                left.append(each.cmdline())
    assert not [command for command in left if "shared" not in " ".join(command)]
