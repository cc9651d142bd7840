"""Blessed models, and Pusher's executor run on them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.types import standard_artifacts

from components.infra_validator.blessing import Blessing, stamped_model, write_blessing
from components.pusher.executor import Executor, PushResult, read_result
from components.vocabulary import write_vocabulary
from serving.versions.record import checksums_of
from serving.versions.store import VersionStore

Bless = Callable[..., dict[str, list[Any]]]
Push = Callable[..., PushResult]


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.versions.settling.SETTLE_SECONDS", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "serving")


@pytest.fixture
def bless(tmp_path: Path) -> Bless:
    def inputs(
        content: str = "a", *, evaluated: bool = True, validated: bool = True
    ) -> dict[str, list[Any]]:
        infra_blessing = standard_artifacts.InfraBlessing()
        infra_blessing.uri = str(tmp_path / "blessings" / content)
        model = stamped_model(infra_blessing.uri)
        shutil.rmtree(model, ignore_errors=True)
        model.mkdir(parents=True)
        (model / "saved_model.pb").write_text(content)
        write_vocabulary(model, ["ant", "bee"])
        blessing = Blessing(
            blessed=validated,
            reasons=[] if validated else ["embedded model server: too slow."],
            model_server="embedded",
            checksums=checksums_of(model),
        )
        write_blessing(blessing, infra_blessing)
        model_blessing = standard_artifacts.ModelBlessing()
        model_blessing.set_int_custom_property("blessed", int(evaluated))
        examples = standard_artifacts.Examples()
        examples.set_string_custom_property("spans", "[3, 4]")
        detail = '[{"span": 3, "images": 9, "sha256": "abc"}]'
        examples.set_string_custom_property("spans_detail", detail)
        statistics = standard_artifacts.ExampleStatistics()
        statistics.uri = str(tmp_path / "statistics")
        (tmp_path / "statistics" / "Split-train").mkdir(parents=True, exist_ok=True)
        return {
            "infra_blessing": [infra_blessing],
            "model_blessing": [model_blessing],
            "examples": [examples],
            "statistics": [statistics],
        }

    return inputs


@pytest.fixture
def push(store: VersionStore) -> Push:
    def run(inputs: dict[str, list[Any]], run_id: str = "run-1", **properties: Any) -> PushResult:
        context = BaseExecutor.Context(pipeline_run_id=run_id)
        pushed = standard_artifacts.PushedModel()
        properties = {"destination": store.storage.base, "keep": 2, **properties}
        try:
            Executor(context).Do(inputs, {"pushed_model": [pushed]}, properties)
        finally:
            if pushed.get_string_custom_property("status"):
                is_pushed = read_result(pushed).is_pushed
                assert pushed.get_int_custom_property("pushed") == int(is_pushed)
        return read_result(pushed)

    return run
