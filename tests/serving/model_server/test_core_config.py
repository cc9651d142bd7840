"""Model configs: what is legal, labels, reloads (research F10)."""

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow.core.protobuf import config_pb2
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.model_server import deadline
from serving.model_server.config import read_text_proto
from serving.model_server.core import CoreOptions, ServerCore
from serving.model_server.errors import Code, ServingError
from serving.model_server.grpc_services import Services
from serving.model_server.loader import LoaderOptions, SavedModelLoader
from serving.model_server.manager import ManagerOptions
from serving.model_server.metrics import Metrics
from serving.model_server.state_monitor import StateMonitor

StartCore = Callable[..., ServerCore]


def config(models: str) -> Any:
    text = f"model_config_list {{ {models} }}"
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


def model(base: Path | str, name: str = "m", more: str = "") -> str:
    has_platform = "model_platform" in more or "model_type" in more
    platform = "" if has_platform else 'model_platform: "tensorflow"'
    return f'config {{ name: "{name}" base_path: "{base}" {platform} {more} }}'


def labels(**versions: int) -> str:
    return " ".join(
        f'version_labels {{ key: "{label}" value: {version} }}'
        for label, version in versions.items()
    )


@pytest.fixture
def base(conformance: Path, tmp_path: Path) -> Path:
    return shutil.copytree(conformance / "models" / "half_plus", tmp_path / "half_plus")


@pytest.fixture
def start() -> Iterator[StartCore]:
    cores = []

    def starter(models: str, **options: Any) -> ServerCore:
        metrics = Metrics()
        session_config = config_pb2.ConfigProto(inter_op_parallelism_threads=-1)
        core = ServerCore(
            SavedModelLoader(LoaderOptions(session_config), metrics),
            CoreOptions(manager=ManagerOptions(max_num_load_retries=0), **options),
            metrics,
        )
        cores.append(core)
        core.start(config(models))
        return core

    yield starter
    for core in cores:
        core.stop()


def refusal_of(action: Callable[[], Any]) -> tuple[Code, str]:
    with pytest.raises(ServingError) as refusal:
        action()
    return refusal.value.code, refusal.value.message


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (
            model("/a") + model("/b"),
            "Illegal to list model m multiple times in config list",
        ),
        (
            model("relative/path"),
            "Expected model m to have an absolute path or URI; got base_path()=relative/path",
        ),
        (
            model("/a", more='model_platform: "tensorflow" model_type: TENSORFLOW'),
            "Illegal setting both ModelServerConfig::model_type (deprecated) and "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (
            model("/a", more='model_platform: ""'),
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            "ModelServerConfig::model_platform, model name is m",
        ),
        (
            model("/a", more='model_platform: "tflite"'),
            "Model m requests unsupported platform tflite",
        ),
    ],
)
def test_an_illegal_config_is_refused(start: StartCore, models: str, message: str) -> None:
    assert refusal_of(lambda: start(models)) == (Code.INVALID_ARGUMENT, message)


def test_a_config_that_cannot_be_parsed_is_named(tmp_path: Path) -> None:
    file = tmp_path / "models.config"
    file.write_text("model_config_list { config { nmae: 'm' } }")
    code, message = refusal_of(
        lambda: read_text_proto(file, model_server_config_pb2.ModelServerConfig())
    )
    assert code == Code.INVALID_ARGUMENT
    assert message.startswith(
        f"Invalid protobuf file: '{file}': "
        "Error parsing text-format tensorflow.serving.ModelServerConfig: "
    )


def test_a_server_may_start_with_no_models_and_get_them_later(base: Path) -> None:
    metrics = Metrics()
    session_config = config_pb2.ConfigProto(inter_op_parallelism_threads=-1)
    loader = SavedModelLoader(LoaderOptions(session_config), metrics)
    core = ServerCore(loader, CoreOptions(), metrics)
    core.start(model_server_config_pb2.ModelServerConfig())
    code, _ = refusal_of(lambda: core.labelled_version("m", "stable"))
    assert code == Code.UNAVAILABLE
    code, _ = refusal_of(lambda: core.reload_config(config(model(base, more=labels(stable=2)))))
    assert code == Code.FAILED_PRECONDITION
    core.reload_config(config(model(base)))
    with core.servable("m") as servable:
        assert servable.version == 2
    core.stop()


def test_a_model_that_cannot_be_loaded_fails_the_start(start: StartCore, tmp_path: Path) -> None:
    (tmp_path / "m" / "1").mkdir(parents=True)
    code, message = refusal_of(lambda: start(model(tmp_path / "m")))
    assert code == Code.UNKNOWN
    assert message.startswith(
        "1 servable(s) did not become available: {{{name: m version: 1} due to error: NOT_FOUND: "
    )


def test_a_deprecated_model_type_still_works(start: StartCore, base: Path) -> None:
    core = start(model(base, more="model_type: TENSORFLOW"))
    assert core.model_status("m")[0].version == 2


def test_labels_of_unloaded_versions_are_fatal_at_the_start(start: StartCore, base: Path) -> None:
    assert refusal_of(lambda: start(model(base, more=labels(stable=2)))) == (
        Code.FAILED_PRECONDITION,
        "Request to assign label to version 2 of model m, which is not currently available for "
        "inference",
    )


def test_a_label_is_given_once_its_version_is_available(start: StartCore, base: Path) -> None:
    core = start(model(base))
    core.reload_config(config(model(base, more=labels(stable=2))))
    assert core.labelled_version("m", "stable") == 2
    code, _ = refusal_of(lambda: core.reload_config(config(model(base, more=labels(stable=1)))))
    assert code == Code.FAILED_PRECONDITION
    assert core.labelled_version("m", "stable") == 2


def test_only_new_labels_may_name_unavailable_versions(start: StartCore, base: Path) -> None:
    core = start(
        model(base, more=labels(stable=2)), allow_version_labels_for_unavailable_models=True
    )
    core.reload_config(config(model(base, more=labels(stable=2, next=99))))
    assert core.labelled_version("m", "next") == 99
    code, _ = refusal_of(lambda: core.reload_config(config(model(base, more=labels(stable=98)))))
    assert code == Code.FAILED_PRECONDITION


def test_a_reload_adds_and_removes_models(start: StartCore, base: Path) -> None:
    core = start(model(base, "first"))
    core.reload_config(config(model(base, "second", "model_version_policy { all {} }")))
    with core.servable("second") as servable:
        assert servable.version == 2


def test_a_model_that_comes_back_is_not_taken_for_the_one_that_goes(
    start: StartCore, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = start(model(base))
    both = config(model(base) + model(base, "other"))
    publish = StateMonitor.publish

    def publish_slowly(*arguments: Any) -> None:
        publish(*arguments)
        time.sleep(0.1)

    monkeypatch.setattr(StateMonitor, "publish", publish_slowly)
    for pause in (0, 0.05, 0.3):
        core.reload_config(both)
        with core.servable("other") as servable:
            assert servable.version == 2
        core.reload_config(config(model(base)))
        time.sleep(pause)
    core.reload_config(both)


def test_a_reload_request_says_how_much_metrics_grew(start: StartCore, base: Path) -> None:
    services = Services(start(model(base)))
    request = model_management_pb2.ReloadConfigRequest()
    request.config.CopyFrom(config(model(base) + model(base, "second")))
    request.metric_names.append("/tensorflow/cc/saved_model/load_attempt_count")
    response = services.reload_config(request)
    assert response.status.error_code == Code.OK
    [metric] = response.metric
    assert metric.int64_value_increase == 1


def test_a_reload_request_without_a_model_list_is_refused(start: StartCore, base: Path) -> None:
    services = Services(start(model(base)))
    assert refusal_of(
        lambda: services.reload_config(model_management_pb2.ReloadConfigRequest())
    ) == (
        Code.INVALID_ARGUMENT,
        "ServerModelConfig type not supported by HandleReloadConfigRequest. "
        "Only ModelConfigList is currently supported",
    )


def test_a_reload_that_cannot_load_its_new_model_says_so(
    start: StartCore, base: Path, tmp_path: Path
) -> None:
    core = start(model(base))
    (tmp_path / "bad" / "1").mkdir(parents=True)
    code, message = refusal_of(
        lambda: core.reload_config(config(model(base) + model(tmp_path / "bad", "bad")))
    )
    assert code == Code.UNKNOWN
    assert message.startswith("1 model(s) did not become available: ")
    with core.servable("m") as servable:
        assert servable.version == 2


def test_a_models_platform_cannot_change(start: StartCore, base: Path) -> None:
    core = start(model(base))
    assert refusal_of(
        lambda: core.reload_config(config(model(base, more='model_platform: "tflite"')))
    ) == (
        Code.INVALID_ARGUMENT,
        "Illegal to change a model's platform. For model m platform was tensorflow and new "
        "platform requested is tflite",
    )


def test_a_version_policy_can_change(start: StartCore, base: Path) -> None:
    core = start(model(base), file_system_poll_wait_seconds=1)
    core.reload_config(
        config(model(base, more="model_version_policy { specific { versions: 1 } }"))
    )
    deadline = time.monotonic() + 60
    while [item.state.name for item in core.model_status("m")] != ["END", "AVAILABLE"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with core.servable("m") as servable:
        assert servable.version == 1


@pytest.mark.parametrize("path", ["/nowhere", "/etc/passwd", "/a\\000b", "/" + "x" * 5000])
def test_a_base_path_that_cannot_be_read_is_refused_and_the_old_config_stays(
    start: StartCore, base: Path, path: str
) -> None:
    core = start(model(base))
    refusal_of(lambda: core.reload_config(config(model(path, "other"))))
    with core.servable("m") as servable:
        assert servable.version == 2
    core.reload_config(config(model(base) + model(base, "other")))
    with core.servable("other") as servable:
        assert servable.version == 2


def test_a_refused_label_or_log_changes_nothing(start: StartCore, base: Path) -> None:
    core = start(model(base))
    for more in (labels(stable=9), 'logging_config { log_collector_config { type: "x" } }'):
        refusal_of(lambda more=more: core.reload_config(config(model(base, "other", more))))
    core.reload_config(config(model(base)))
    refusal_of(lambda: core.servable("other"))


def test_a_reload_that_waits_holds_up_no_other(
    start: StartCore, base: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    core = start(model(base))
    empty = model(tmp_path / "empty", "empty")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(refusal_of, lambda: core.reload_config(config(model(base) + empty)))
        while "empty" not in core._models:
            time.sleep(0.01)
        core.reload_config(config(model(base) + empty + model(base, "other")))
        with core.servable("other") as servable:
            assert servable.version == 2
        code, message = waiting.result(60)
    assert code == Code.UNKNOWN
    assert "{{name: empty} due to error: NOT_FOUND: no version has appeared" in message


def test_a_reload_ends_at_its_callers_deadline(
    start: StartCore, base: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    core = start(model(base))
    with deadline.at(time.monotonic() + 0.3):
        code, _ = refusal_of(
            lambda: core.reload_config(config(model(base) + model(tmp_path / "empty", "empty")))
        )
    assert code == Code.DEADLINE_EXCEEDED


def test_without_polling_a_start_waits_for_nothing(start: StartCore, base: Path) -> None:
    core = start(model(base), file_system_poll_wait_seconds=-1)
    refusal_of(lambda: core.model_status("m"))
    core.reload_config(config(model(base) + model(base, "other")))


def test_models_added_later_are_loaded_without_polling_too(start: StartCore, base: Path) -> None:
    core = start(model(base), file_system_poll_wait_seconds=0)
    core.reload_config(config(model(base) + model(base, "other")))
    with core.servable("other") as servable:
        assert servable.version == 2


def logged(prefix: Path) -> str:
    return f'logging_config {{ log_collector_config {{ filename_prefix: "{prefix}" }} }}'


def test_request_logs_lie_under_their_root(start: StartCore, base: Path, tmp_path: Path) -> None:
    root = tmp_path / "logs"
    core = start(model(base), request_log_root=root)
    core.reload_config(config(model(base, more=logged(root / "m"))))
    for prefix in (tmp_path / "m", root / ".." / "m", Path("m")):
        code, message = refusal_of(
            lambda prefix=prefix: core.reload_config(config(model(base, more=logged(prefix))))
        )
        assert code == Code.PERMISSION_DENIED
        assert "does not lie under --request_log_root" in message


def test_without_a_root_only_the_config_file_may_ask_for_request_logs(
    start: StartCore, base: Path, tmp_path: Path
) -> None:
    core = start(model(base))
    asking = config(model(base, more=logged(tmp_path / "m")))
    assert refusal_of(lambda: core.reload_config(asking))[0] == Code.PERMISSION_DENIED
    core.reload_config(asking, is_from_file=True)
    core.reload_config(asking)


def test_reloads_can_be_switched_off(start: StartCore, base: Path) -> None:
    services = Services(start(model(base)), answer_reload_config=False)
    request = model_management_pb2.ReloadConfigRequest()
    assert refusal_of(lambda: services.reload_config(request))[0] == Code.PERMISSION_DENIED
