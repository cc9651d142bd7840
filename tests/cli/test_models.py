"""`runner.py models` on a serving directory with small files for models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli.models import app
from cli.tables.versions import listing, print_listing
from pipeline.settings.errors import UsageError
from serving.versions.publish import publish
from serving.versions.record import Pushed
from serving.versions.store import VersionStore


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.versions.settling.SETTLE_SECONDS", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "serving" / "fashion_mnist")


@pytest.fixture
def push(store: VersionStore, tmp_path: Path) -> Callable[[str], int]:
    def push_model(content: str) -> int:
        model = tmp_path / content
        model.mkdir()
        (model / "saved_model.pb").write_text(content)
        pushed = Pushed(
            run_id=f"run-{content}",
            spans=[2],
            model_server="embedded",
            metrics={"overall": {"sparse_categorical_accuracy": 0.9123}},
        )
        return publish(store, model, pushed).version

    return push_model


@pytest.fixture
def models(tmp_path: Path) -> Callable[..., Result]:
    def call(*arguments: str) -> Result:
        result = CliRunner().invoke(app, [*arguments, "--workdir", str(tmp_path)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


def as_json(result: Result) -> Any:
    assert result.exit_code == 0
    return json.loads(result.stdout)


def test_list_shows_versions_newest_first_with_their_records(
    models: Callable[..., Result], push: Callable[[str], int]
) -> None:
    first, second = push("a"), push("b")

    text = models("list").stdout
    listing = as_json(models("list", "--json"))

    assert text.index(str(second)) < text.index(str(first))
    assert "0.9123" in text
    assert "run-b" in text
    assert [entry["version"] for entry in listing["versions"]] == [second, first]
    assert listing["versions"][0]["state"] == "present"
    assert listing["versions"][0]["record"]["spans"] == [2]


def test_list_of_an_empty_workdir_says_so(models: Callable[..., Result]) -> None:
    assert "no version in" in models("list").stdout
    assert as_json(models("list", "--json"))["versions"] == []


def test_list_names_a_server_that_does_not_answer(
    models: Callable[..., Result], push: Callable[[str], int]
) -> None:
    push("a")

    with pytest.raises(UsageError, match="no model server answers"):
        models("list", "--server", "127.0.0.1:1")


def test_rollback_takes_the_newest_version_back_and_list_says_why(
    models: Callable[..., Result], push: Callable[[str], int]
) -> None:
    first, second = push("a"), push("b")

    result = models("rollback", "--reason", "shirts became coats")

    assert f"rolled back version {second}; now version {first} serves" in result.stdout
    assert "shirts became coats" in models("list").stdout


def test_rolling_back_the_only_version_needs_force(
    models: Callable[..., Result], push: Callable[[str], int]
) -> None:
    only = push("a")

    with pytest.raises(UsageError, match="nothing would be left to serve"):
        models("rollback")
    assert as_json(models("rollback", "--force", "--json"))["rolled_back"] == only


def test_prune_keeps_as_many_as_asked(
    models: Callable[..., Result], push: Callable[[str], int]
) -> None:
    numbers = [push(name) for name in "abcd"]

    assert as_json(models("prune", "--keep", "2", "--json"))["removed"] == numbers[:2]
    assert models("prune", "--keep", "2").stdout == "removed nothing\n"


def test_label_writes_the_config_and_list_shows_it(
    models: Callable[..., Result], push: Callable[[str], int], store: VersionStore
) -> None:
    version = push("a")

    result = models("label", "stable", str(version), "--base-path", "/models/fashion_mnist")

    config = Path(store.storage.base) / "models.config"
    assert str(config) in result.stdout
    assert 'base_path: "/models/fashion_mnist"' in config.read_text()
    assert as_json(models("list", "--json"))["versions"][0]["labels"] == ["stable"]
    models("label", "stable", "--remove")
    assert "stable" not in config.read_text()


def test_a_label_and_a_folder_are_listed_as_they_are_called(
    push: Callable[[str], int], store: VersionStore, capsys: pytest.CaptureFixture[str]
) -> None:
    found = listing(store.storage.base, "m", None)
    found.directory = "x[/y]"
    print_listing(found)
    push("a")
    found.versions = listing(store.storage.base, "m", None).versions
    found.versions[0].labels = ["[/x]"]
    print_listing(found)
    shown = capsys.readouterr().out
    assert shown.count("x[/y]") == 2
    assert " [/x] " in shown


def test_label_wants_a_version_or_its_removal(models: Callable[..., Result]) -> None:
    with pytest.raises(UsageError, match="either a version or --remove"):
        models("label", "stable")


def test_diff_of_a_version_that_is_not_there_names_those_that_are(
    models: Callable[..., Result], push: Callable[[str], int]
) -> None:
    version = push("a")

    with pytest.raises(UsageError, match=f"There is no version 5 in .*; there are {version}"):
        models("diff", str(version), "5")


def test_diff_before_any_run_says_what_is_missing(
    models: Callable[..., Result], push: Callable[[str], int]
) -> None:
    first, second = push("a"), push("b")

    with pytest.raises(UsageError, match="run the pipeline first"):
        models("diff", str(first), str(second))
