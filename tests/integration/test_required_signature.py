"""The embedded server with --require_signature: signed versions are served, others are named."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from serving.versions.publish import publish
from serving.versions.record import Pushed
from serving.versions.signature import Signer
from serving.versions.store import VersionStore
from tests.integration.conftest import CONFORMANCE, REPOSITORY, StartModelServer, free_port
from tests.signing_keys import make_keys

pytestmark = pytest.mark.integration

HALF_PLUS = CONFORMANCE / "models" / "half_plus"


def model_with(tmp_path: Path, content: str) -> Path:
    """half_plus, with a file of its own so that its bytes are new."""
    model = tmp_path / content
    shutil.copytree(HALF_PLUS / "1", model)
    (model / "assets.extra").mkdir()
    (model / "assets.extra" / "note").write_text(content)
    return model


def status(url: str) -> dict[int, tuple[str, str]]:
    answer = requests.get(f"{url}/v1/models/half_plus", timeout=60).json()
    found = answer["model_version_status"]
    return {int(v["version"]): (v["state"], v["status"]["error_message"]) for v in found}


def wait_for(url: str, version: int, state: str) -> str:
    deadline = time.monotonic() + 60
    while status(url).get(version, ("", ""))[0] != state:
        assert time.monotonic() < deadline, status(url)
        time.sleep(0.1)
    return status(url)[version][1]


def answers(url: str) -> bool:
    body = json.dumps({"instances": [1.0]})
    return requests.post(f"{url}/v1/models/half_plus:predict", data=body, timeout=60).ok


def test_versions_that_do_not_verify_end_and_the_good_one_before_them_is_served(
    tmp_path: Path, start_model_server: StartModelServer
) -> None:
    private, public = make_keys(tmp_path / "keys")
    signer, other = Signer(private), Signer(make_keys(tmp_path / "keys", "other")[0])
    base = tmp_path / "half_plus"
    store = VersionStore(base)
    good = publish(store, model_with(tmp_path, "good"), Pushed(), signer=signer).version
    server = start_model_server(
        "--model_name=half_plus",
        f"--model_base_path={base}",
        f"--require_signature={public}",
        "--file_system_poll_wait_seconds=1",
    )
    assert status(server.url)[good][0] == "AVAILABLE"

    unsigned = publish(store, model_with(tmp_path, "unsigned"), Pushed()).version
    assert "is not signed" in wait_for(server.url, unsigned, "END")
    assert answers(server.url)

    foreign = publish(store, model_with(tmp_path, "foreign"), Pushed(), signer=other).version
    assert "was signed with another key" in wait_for(server.url, foreign, "END")

    # A copy of the good version, its record and its signature, as the newest.
    replayed = foreign + 1
    for suffix in ("json", "sig"):
        records = base / ".versions"
        shutil.copy(records / f"{good}.{suffix}", records / f"{replayed}.{suffix}")
    shutil.copytree(base / str(good), tmp_path / "copy")
    (tmp_path / "copy").rename(base / str(replayed))
    assert f"was signed as version {good}" in wait_for(server.url, replayed, "END")

    states = status(server.url)
    assert states[good][0] == "AVAILABLE"
    assert answers(server.url)
    assert "FAILED_PRECONDITION" not in states[good][1]

    better = publish(store, model_with(tmp_path, "better"), Pushed(), signer=signer).version
    wait_for(server.url, better, "AVAILABLE")
    wait_for(server.url, good, "END")
    assert answers(server.url)


def test_a_key_that_cannot_verify_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "serving.model_server", f"--port={free_port()}"]
    command += ["--model_name=half_plus", f"--model_base_path={HALF_PLUS}"]
    command += [f"--require_signature={tmp_path / 'absent.pem'}"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 255
    assert f"--require_signature: cannot read the key {tmp_path / 'absent.pem'}" in ended.stdout


def test_nothing_of_it_is_imported_without_the_flag(tmp_path: Path) -> None:
    # Were it imported, this broken package would end the server.
    (tmp_path / "model_signing.py").write_text("raise SystemExit('imported')")
    probe = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import runpy; "
        "runpy.run_module('serving.model_server', run_name='__main__', alter_sys=True)"
    )
    rest_port = free_port()
    command = [sys.executable, "-c", probe, str(tmp_path), f"--port={free_port()}"]
    command += [f"--rest_api_port={rest_port}", "--model_name=half_plus"]
    command += [f"--model_base_path={HALF_PLUS}"]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 120
            while True:
                assert process.poll() is None
                assert time.monotonic() < deadline
                try:
                    assert answers(f"http://127.0.0.1:{rest_port}")
                    break
                except requests.ConnectionError:
                    time.sleep(0.2)
        finally:
            process.kill()
