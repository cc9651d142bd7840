"""Signed versions on the command line: `models verify`, `push.sign_with`, `--require-signature`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import runner
from cli.app import app
from cli.doctor.finding import State
from cli.doctor.workdir import signing_key
from pipeline.settings.errors import UsageError
from pipeline.settings.load import load_config
from serving.versions.publish import publish
from serving.versions.record import Pushed
from serving.versions.signature import Signer
from serving.versions.store import VersionStore
from tests.signing_keys import make_keys

Call = Callable[..., Result]


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_keys(tmp_path / "keys")


@pytest.fixture
def call(tmp_path: Path) -> Call:
    def run(*arguments: str) -> Result:
        result = CliRunner().invoke(app, [*arguments, "--workdir", str(tmp_path / "var")])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def version(tmp_path: Path, keys: tuple[Path, Path]) -> int:
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_text("graph")
    store = VersionStore(tmp_path / "var" / "serving" / "fashion_mnist")
    return publish(store, model, Pushed(run_id="run-1"), signer=Signer(keys[0])).version


def test_verify_says_that_a_version_is_what_was_signed(
    call: Call, version: int, keys: tuple[Path, Path]
) -> None:
    result = call("models", "verify", str(version), "--key", str(keys[1]))

    assert result.exit_code == 0
    assert f"version {version} is what was signed" in result.stdout


def test_verify_says_what_is_wrong_with_a_version(
    call: Call, version: int, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    directory = tmp_path / "var" / "serving" / "fashion_mnist" / str(version)
    (directory / "saved_model.pb").write_text("another graph")

    result = call("models", "verify", str(version), "--key", str(keys[1]), "--json")

    assert result.exit_code == 1
    reason = f"version {version} is not what was signed: saved_model.pb differs"
    assert json.loads(result.stdout) == {"version": version, "verified": False, "reason": reason}


def test_verify_needs_a_version_that_is_there_and_a_public_key(
    call: Call, version: int, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    with pytest.raises(UsageError, match="There is no version 1 in"):
        call("models", "verify", "1", "--key", str(public))
    with pytest.raises(UsageError, match=r"--key: .* is not a public key"):
        call("models", "verify", str(version), "--key", str(private))
    remote = ("--set", "push.destination=gs://bucket/models")
    with pytest.raises(UsageError, match="works on local folders"):
        call("models", "verify", str(version), "--key", str(public), *remote)


@pytest.mark.parametrize("verb", [("run",), ("schedule", "--once")], ids=" ".join)
def test_a_key_that_cannot_sign_ends_a_run_before_it_begins(
    call: Call, verb: tuple[str, ...], keys: tuple[Path, Path], tmp_path: Path
) -> None:
    for key, why in ((keys[1], "is not an unencrypted private key"), (tmp_path / "no", "No such")):
        with pytest.raises(UsageError, match=rf"push\.sign_with: .*{why}"):
            call(*verb, "--preset", "smoke", "--set", f"push.sign_with={key}")
    assert not (tmp_path / "var").exists()


def test_it_is_one_sentence_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "absent.pem"
    arguments = ["run", "--workdir", str(tmp_path / "var"), "--set", f"push.sign_with={key}"]
    monkeypatch.setattr("sys.argv", ["runner.py", *arguments])
    with pytest.raises(SystemExit) as ending:
        runner.main()
    assert ending.value.code == 2
    problem = capsys.readouterr().err.strip()
    assert problem == (
        f"runner.py: push.sign_with: cannot read the key {key}: No such file or directory"
    )


def test_what_lists_or_serves_needs_no_private_key(call: Call, version: int) -> None:
    result = call("models", "list", "--set", "push.sign_with=/on/another/machine.pem")

    assert str(version) in result.stdout


def test_only_the_embedded_server_can_require_signatures(
    call: Call, version: int, keys: tuple[Path, Path]
) -> None:
    private, public = keys
    with pytest.raises(UsageError, match="TensorFlow Serving cannot verify signatures"):
        call("serve", "--require-signature", str(public), "--model-server", "docker")
    with pytest.raises(UsageError, match=r"--require-signature: .* is not a public key"):
        call("serve", "--require-signature", str(private))


def test_doctor_looks_at_the_key(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    def look(key: Path | None) -> list[tuple[State, str]]:
        overrides = [f"push.sign_with={key}"] if key else []
        config = load_config(None, None, overrides, workdir=tmp_path)
        return [(finding.state, finding.text) for finding in signing_key(config)]

    private, public = keys
    assert look(None) == []
    assert look(private) == [(State.OK, f"what is pushed is signed with {private}")]
    assert look(public)[0][0] is State.BROKEN
    private.chmod(0o644)
    assert look(private)[0][0] is State.WARNING
