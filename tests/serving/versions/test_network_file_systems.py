"""Versions on NFS, FUSE and their like: how such a mount is told, and the weaker way to push."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.versions import mounted_storage
from serving.versions import store as store_module
from serving.versions.file_systems import network_file_system
from serving.versions.mounted_storage import MountedStorage
from serving.versions.prune import prune
from serving.versions.publish import PushStatus, publish
from serving.versions.record import Pushed
from serving.versions.rollback import roll_back
from serving.versions.storage import PublishError
from serving.versions.store import VersionState, VersionStore


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.versions.settling.SETTLE_SECONDS", 0.0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VersionStore:
    monkeypatch.setattr(store_module, "network_file_system", lambda path: "nfs4")
    store = VersionStore(tmp_path / "mount" / "fashion_mnist")
    assert isinstance(store.storage, MountedStorage)
    return store


@pytest.fixture
def push(store: VersionStore, tmp_path: Path) -> Callable[[str], int]:
    def push_model(content: str) -> int:
        model = tmp_path / content
        (model / "variables").mkdir(parents=True, exist_ok=True)
        (model / "saved_model.pb").write_text(f"graph {content}")
        (model / "variables" / "variables.index").write_text(f"weights {content}")
        return publish(store, model, Pushed()).version

    return push_model


Push = Callable[[str], int]


def mounts(*entries: tuple[str, str]) -> str:
    return "".join(
        f"{number} 1 0:{number} / {point} rw,relatime shared:1 - {kind} source rw\n"
        for number, (point, kind) in enumerate(entries, 20)
    )


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        *[(kind, True) for kind in ("nfs", "nfs4", "cifs", "smb3", "9p")],
        *[(kind, True) for kind in ("fuse", "fuse.gcsfuse", "fuse.sshfs", "fuse.s3fs")],
        *[(kind, False) for kind in ("ext4", "xfs", "btrfs", "overlay", "tmpfs", "fuseblk")],
    ],
)
def test_network_and_user_space_file_systems_are_told(
    tmp_path: Path, kind: str, told: bool
) -> None:
    text = mounts(("/", "ext4"), (str(tmp_path), kind))

    assert network_file_system(tmp_path / "not" / "there", text) == (kind if told else None)


def test_the_innermost_and_latest_mount_counts(tmp_path: Path) -> None:
    inner = tmp_path / "in ner"
    inner.mkdir()
    escaped = str(inner).replace(" ", "\\040")

    over_local = mounts(("/", "ext4"), (str(tmp_path), "nfs4"), (escaped, "ext4"))
    assert network_file_system(inner, over_local) is None
    assert network_file_system(tmp_path / "sibling", over_local) == "nfs4"
    assert network_file_system(inner, mounts((escaped, "ext4"), (escaped, "nfs"))) == "nfs"
    assert network_file_system(inner, mounts((f"{tmp_path}/in", "nfs"), ("/", "ext4"))) is None


def test_a_link_to_a_mount_is_followed(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "mount")

    text = mounts(("/", "ext4"), (str(tmp_path / "mount"), "nfs4"))
    assert network_file_system(tmp_path / "link" / "model", text) == "nfs4"


def test_this_machines_own_mounts_can_be_read(tmp_path: Path) -> None:
    assert network_file_system(Path("/dev/shm/model")) is None


def test_saved_model_comes_last_and_no_folder_is_renamed(
    store: VersionStore, push: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    copy = mounted_storage.shutil.copyfile

    def watch(source: Path, target: Path) -> None:
        copied.append(Path(target).name)
        copy(source, target)

    monkeypatch.setattr(mounted_storage.shutil, "copyfile", watch)
    monkeypatch.setattr(os, "rename", lambda *_: pytest.fail("a folder is renamed"))

    version = push("a")

    assert copied == ["variables.index", "saved_model.pb"]
    newest = store.newest_served()
    assert newest is not None
    assert newest.number == version
    assert store.is_intact(newest)


def test_rolling_back_and_pruning_work_without_renames(store: VersionStore, push: Push) -> None:
    numbers = [push(name) for name in "abcd"]
    roll_back(store, None, "bad")

    assert [version.number for version in store.served()] == numbers[2::-1]
    assert store.get(numbers[3]).state is VersionState.ROLLED_BACK
    assert prune(store, keep=2) == numbers[:1]
    model = Path(store.storage.base).parents[1] / "d"
    assert publish(store, model, Pushed()).status is PushStatus.ROLLED_BACK


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF])
def test_a_mount_without_locks_is_pushed_to_all_the_same(
    store: VersionStore,
    push: Push,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    number: int,
) -> None:
    @contextmanager
    def no_locks(path: Path) -> Iterator[None]:
        raise OSError(number, os.strerror(number))
        yield

    monkeypatch.setattr(mounted_storage, "locked", no_locks)

    push("a")

    assert len(store.served()) == 1
    assert "(nfs4) has no locks: only one push at a time is safe" in caplog.text


def test_a_copy_that_fails_leaves_no_version(
    store: VersionStore, push: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(mounted_storage.shutil, "copyfile", fail)

    with pytest.raises(PublishError, match=r"Stale file handle.*Nothing was pushed"):
        push("a")
    assert store.served() == []


def test_a_mount_with_one_owner_for_all_files_is_no_obstacle(
    store: VersionStore, push: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, mode: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "chmod", refuse)

    push("a")

    assert len(store.served()) == 1
