"""Labels and the models.config that a running server re-reads."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tensorflow_serving.config import model_server_config_pb2

from serving.model_server.config import read_text_proto
from serving.versions.labels import (
    Labels,
    UnknownVersionError,
    listed_versions,
    move_label,
    read_labels,
)
from serving.versions.prune import prune
from serving.versions.publish import publish
from serving.versions.record import Pushed
from serving.versions.rollback import roll_back
from serving.versions.store import VersionStore


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.versions.settling.SETTLE_SECONDS", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "fashion_mnist")


@pytest.fixture
def push(store: VersionStore, tmp_path: Path) -> Callable[[], int]:
    contents = iter(range(100))

    def push_next() -> int:
        model = tmp_path / f"model-{next(contents)}"
        model.mkdir()
        (model / "saved_model.pb").write_text(model.name)
        return publish(store, model, Pushed()).version

    return push_next


def label(
    store: VersionStore,
    name: str,
    version: int | None,
    wait: Callable[[int], None] = lambda _: None,
) -> Labels:
    return move_label(
        store,
        name,
        version,
        model_name="fashion_mnist",
        base_path="/models/fashion_mnist",
        wait_until_loaded=wait,
    )


def config(store: VersionStore) -> str:
    return (Path(store.storage.base) / "models.config").read_text()


def test_the_config_lists_the_newest_and_every_labelled_version(
    store: VersionStore, push: Callable[[], int]
) -> None:
    stable, _, newest = push(), push(), push()

    label(store, "stable", stable)

    assert config(store) == (
        "model_config_list {\n"
        "  config {\n"
        '    name: "fashion_mnist"\n'
        '    base_path: "/models/fashion_mnist"\n'
        '    model_platform: "tensorflow"\n'
        "    model_version_policy {\n"
        "      specific {\n"
        f"        versions: {stable}\n"
        f"        versions: {newest}\n"
        "      }\n"
        "    }\n"
        f'    version_labels {{ key: "stable" value: {stable} }}\n'
        "  }\n"
        "}\n"
    )


def test_a_label_moves_only_after_the_server_has_loaded_the_version(
    store: VersionStore, push: Callable[[], int]
) -> None:
    old, new = push(), push()
    label(store, "stable", old)
    seen: list[str] = []

    label(store, "stable", new, wait=lambda _: seen.append(config(store)))

    assert f"versions: {new}" in seen[0]
    assert f'key: "stable" value: {old}' in seen[0]
    assert f'key: "stable" value: {new}' in config(store)
    assert f"versions: {old}" in config(store)


def test_a_label_stays_where_it_was_when_the_server_does_not_load_the_version(
    store: VersionStore, push: Callable[[], int]
) -> None:
    old, new = push(), push()
    label(store, "stable", old)

    def fail(version: int) -> None:
        raise TimeoutError(f"version {version} did not load")

    with pytest.raises(TimeoutError):
        label(store, "stable", new, wait=fail)
    assert f'key: "stable" value: {old}' in config(store)


def test_a_push_lists_the_new_version_beside_the_labelled_and_the_previous_one(
    store: VersionStore, push: Callable[[], int]
) -> None:
    stable, previous = push(), push()
    label(store, "stable", stable)

    newest = push()

    assert listed_versions(store) == {stable, previous, newest}
    assert f"versions: {newest}" in config(store)


def test_rolling_back_a_labelled_version_moves_its_labels_to_the_one_before(
    store: VersionStore, push: Callable[[], int]
) -> None:
    good, bad = push(), push()
    label(store, "canary", bad)

    roll_back(store, None, "bad")

    state = read_labels(store)
    assert state is not None
    assert state.labels == {"canary": good}
    assert f"versions: {bad}" not in config(store)


def test_a_labelled_version_is_not_pruned(store: VersionStore, push: Callable[[], int]) -> None:
    stable, unlabelled = push(), push()
    label(store, "stable", stable)
    push()
    push()

    assert prune(store, keep=2) == [unlabelled]


def test_a_label_for_a_version_that_is_not_served_is_refused(
    store: VersionStore, push: Callable[[], int]
) -> None:
    only = push()

    with pytest.raises(UnknownVersionError, match=f"Version 9 is not served.*served are {only}"):
        label(store, "stable", 9)
    assert not (Path(store.storage.base) / "models.config").exists()


def test_a_removed_label_leaves_the_config(store: VersionStore, push: Callable[[], int]) -> None:
    version = push()
    label(store, "stable", version)

    label(store, "stable", None)

    assert "stable" not in config(store)


@pytest.mark.parametrize("name", ["café", "模型", "\U0001f680", 'a"b\\c', "a\nb\x01\x7f\u2028c"])
def test_a_server_reads_any_label_in_the_config(
    store: VersionStore, push: Callable[[], int], name: str
) -> None:
    version = push()
    label(store, name, version)
    path = Path(store.storage.base) / "models.config"
    message = read_text_proto(path, model_server_config_pb2.ModelServerConfig())
    assert dict(message.model_config_list.config[0].version_labels) == {name: version}
    # Where labels.json is damaged, the labels are taken from there.
    store.storage.write(".versions/labels.json", "{")
    state = read_labels(store)
    assert state is not None
    assert state.labels == {name: version}
