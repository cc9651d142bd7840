"""A full disk and a read-only one, really mounted, in a mount namespace of the test's own."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
_CAN_MOUNT = not subprocess.run(
    [*_NAMESPACE, "mount -t tmpfs none /mnt"], capture_output=True, check=False
).returncode

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not _CAN_MOUNT, reason="this user may not mount in a namespace of its own"),
]

_PUSH = """
import os, sys
from pathlib import Path
from serving.versions.publish import publish
from serving.versions.record import Pushed
from serving.versions.storage import PublishError
from serving.versions.store import VersionStore
base, model = map(Path, sys.argv[1:])
store = VersionStore(base / "model")
try:
    publish(store, model, Pushed())
except PublishError as error:
    print(error)
    print(store.storage.names(), [version.number for version in store.served()])
"""


def push_to(mount_options: str, prepare: str, folder: Path) -> list[str]:
    """Pushes a model of 1 MB to a file system that is mounted for it; returns what it prints."""
    model, base = folder / "model", folder / "base"
    model.mkdir()
    base.mkdir()
    (model / "saved_model.pb").write_bytes(bytes(1_000_000))
    script = (
        f"mount -t tmpfs {mount_options} none {base} && {prepare} "
        f"&& {sys.executable} -c '{_PUSH}' {base} {model}"
    )
    result = subprocess.run(
        [*_NAMESPACE, script], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    return result.stdout.splitlines()


def test_a_full_disk_is_named_and_nothing_is_left_on_it(tmp_path: Path) -> None:
    error, left = push_to("-o size=300k", "true", tmp_path)

    assert error.startswith(f"Could not push to {tmp_path}/base/model: No space left on device")
    assert error.endswith("Nothing was pushed.")
    assert left == "['.versions'] []"


def test_a_destination_that_is_read_only_is_named(tmp_path: Path) -> None:
    error, left = push_to("", f"mount -o remount,ro {tmp_path}/base", tmp_path)

    assert error.startswith(f"Could not push to {tmp_path}/base/model: Read-only file system")
    assert left == "[] []"
