"""Signed versions: what was signed verifies, whatever else is refused by name."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from serving.versions.prune import prune
from serving.versions.publish import PushStatus, publish
from serving.versions.record import Pushed
from serving.versions.rollback import roll_back
from serving.versions.signature import KeyFileError, SignatureError, Signer, Verifier
from serving.versions.storage import PublishError
from serving.versions.store import VersionState, VersionStore
from tests.signing_keys import make_keys

VARIABLES = "variables/variables.data-00000-of-00001"


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.versions.settling.SETTLE_SECONDS", 0.0)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def verifier(keys: tuple[Path, Path]) -> Verifier:
    return Verifier(keys[1])


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "serving" / "fashion_mnist")


@pytest.fixture
def push(store: VersionStore, tmp_path: Path, keys: tuple[Path, Path]) -> Callable[[str], int]:
    def push_signed(content: str) -> int:
        model = model_with(tmp_path, content)
        return publish(store, model, pushed(), signer=Signer(keys[0])).version

    return push_signed


def model_with(tmp_path: Path, content: str) -> Path:
    model = tmp_path / "models" / content
    (model / "variables").mkdir(parents=True, exist_ok=True)
    (model / "saved_model.pb").write_text(f"graph {content}")
    (model / VARIABLES).write_text(f"weights {content}")
    return model


def pushed() -> Pushed:
    return Pushed(run_id="run-1", metrics={"overall": {"accuracy": 0.9, "odd": 1e-07}})


def path(store: VersionStore, number: int, name: str = "") -> Path:
    return Path(store.storage.base) / str(number) / name


def beside(store: VersionStore, number: int, suffix: str) -> Path:
    return Path(store.storage.base) / ".versions" / f"{number}.{suffix}"


def refusal(verifier: Verifier, directory: Path, number: int) -> str:
    with pytest.raises(SignatureError) as refused:
        verifier.verify(directory, number)
    return str(refused.value)


def test_a_pushed_version_is_what_was_signed(
    store: VersionStore, push: Callable[[str], int], verifier: Verifier
) -> None:
    number = push("a")

    verifier.verify(path(store, number), number)


def test_the_signature_is_verified_by_the_library_s_own_program(
    store: VersionStore, push: Callable[[str], int], keys: tuple[Path, Path]
) -> None:
    number = push("a")
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(path(store, number))]
    command += ["--signature", str(beside(store, number, "sig")), "--public_key", str(keys[1])]

    sound = subprocess.run(command, capture_output=True, text=True)
    path(store, number, VARIABLES).write_text("weights b")
    tampered = subprocess.run(command, capture_output=True, text=True)

    assert (sound.returncode, tampered.returncode) == (0, 1), sound.stderr


def change_a_byte(directory: Path) -> None:
    file = directory / VARIABLES
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))


def add_a_link(directory: Path) -> None:
    (directory / "assets").symlink_to("/etc")


TAMPERING: dict[str, tuple[Callable[[Path], object], str]] = {
    "a changed byte": (change_a_byte, f"{VARIABLES} differs"),
    "a file added": (
        lambda directory: (directory / "batching_params.pbtxt").write_text(""),
        "batching_params.pbtxt was not expected",
    ),
    "a file that git would hide": (
        lambda directory: (directory / ".gitignore").write_text("*"),
        ".gitignore was not expected",
    ),
    "a file removed": (
        lambda directory: (directory / "saved_model.pb").unlink(),
        "saved_model.pb is missing",
    ),
    "a link": (add_a_link, "symlink"),
    "no file left": (lambda directory: shutil.rmtree(directory), "is not what was signed"),
}


@pytest.mark.parametrize("how", TAMPERING)
def test_another_content_is_refused_by_name(
    store: VersionStore, push: Callable[[str], int], verifier: Verifier, how: str
) -> None:
    number = push("a")
    tamper, named = TAMPERING[how]
    tamper(path(store, number))

    text = refusal(verifier, path(store, number), number)

    assert text.startswith(f"version {number} is not what was signed: ")
    assert named in text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("checksums", {"saved_model.pb": "0" * 64}),
        ("metrics", {"overall": {"accuracy": 0.99}}),
        ("spans", [7]),
        ("version", 3),
    ],
)
def test_an_edited_record_is_refused(
    store: VersionStore,
    push: Callable[[str], int],
    verifier: Verifier,
    field: str,
    value: object,
) -> None:
    number = push("a")
    file = beside(store, number, "json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))

    text = refusal(verifier, path(store, number), number)

    assert text == f"the record of version {number} was edited after it was signed"


@pytest.mark.parametrize("content", ["", "[]", "{", "\x00"])
def test_a_damaged_record_is_refused(
    store: VersionStore, push: Callable[[str], int], verifier: Verifier, content: str
) -> None:
    number = push("a")
    beside(store, number, "json").write_text(content)

    assert "was edited" in refusal(verifier, path(store, number), number)


def test_a_lost_record_is_refused(
    store: VersionStore, push: Callable[[str], int], verifier: Verifier
) -> None:
    number = push("a")
    beside(store, number, "json").unlink()

    assert "has lost its record" in refusal(verifier, path(store, number), number)


def test_a_missing_signature_is_refused(
    store: VersionStore, push: Callable[[str], int], verifier: Verifier
) -> None:
    number = push("a")
    beside(store, number, "sig").unlink()

    assert "is not signed" in refusal(verifier, path(store, number), number)


@pytest.mark.parametrize("content", ["", "{}", "[]", "\x00", '{"verificationMaterial": {}}'])
def test_an_unreadable_signature_is_refused(
    store: VersionStore, push: Callable[[str], int], verifier: Verifier, content: str
) -> None:
    number = push("a")
    beside(store, number, "sig").write_text(content)

    assert "is unreadable" in refusal(verifier, path(store, number), number)


def test_another_key_is_refused(
    store: VersionStore, push: Callable[[str], int], tmp_path: Path
) -> None:
    number = push("a")
    _, public = make_keys(tmp_path, "another")

    text = refusal(Verifier(public), path(store, number), number)

    assert text == f"version {number} was signed with another key than that of {public}"


def test_a_statement_that_was_exchanged_under_the_signature_is_refused(
    store: VersionStore, push: Callable[[str], int], verifier: Verifier
) -> None:
    first, second = push("a"), push("b")
    mine, other = (json.loads(beside(store, n, "sig").read_text()) for n in (first, second))
    mine["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"]
    beside(store, second, "sig").write_text(json.dumps(mine))

    assert "was altered" in refusal(verifier, path(store, second), second)


def test_an_old_version_does_not_come_back_under_a_new_number(
    store: VersionStore, push: Callable[[str], int], verifier: Verifier
) -> None:
    old = push("a")
    new = push("b") + 1
    shutil.copytree(path(store, old), path(store, new))
    for suffix in ("json", "sig"):
        shutil.copy(beside(store, old, suffix), beside(store, new, suffix))

    text = refusal(verifier, path(store, new), new)

    assert text == f"version {new} was signed as version {old}"


def test_a_version_stays_signed_when_it_is_rolled_back_and_put_back(
    store: VersionStore, push: Callable[[str], int], verifier: Verifier
) -> None:
    push("a")
    number = push("b")
    roll_back(store, number, "shirts became coats")
    version = store.get(number)
    assert version is not None
    assert version.state is VersionState.ROLLED_BACK

    verifier.verify(Path(str(version.directory)), number)
    Path(str(version.directory)).rename(path(store, number))
    verifier.verify(path(store, number), number)


def test_what_a_later_release_adds_to_records_leaves_them_signed(
    store: VersionStore, push: Callable[[str], int], verifier: Verifier
) -> None:
    number = push("a")
    file = beside(store, number, "json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"restored": None, "code": ""}))

    verifier.verify(path(store, number), number)


def test_a_pruned_version_keeps_its_signature_with_its_record(
    store: VersionStore, push: Callable[[str], int]
) -> None:
    first = push("a")
    push("b")
    push("c")

    assert prune(store, keep=2) == [first]
    assert beside(store, first, "json").exists()
    assert beside(store, first, "sig").exists()


def test_a_server_takes_no_signature_for_a_version(
    store: VersionStore, push: Callable[[str], int]
) -> None:
    number = push("a")

    names = [entry.name for entry in Path(store.storage.base).iterdir()]
    assert sorted(names) == [".versions", str(number)]
    assert {entry.name for entry in path(store, number).iterdir()} == {
        "saved_model.pb",
        "variables",
    }


def test_the_version_being_served_is_signed_once_there_is_a_key(
    store: VersionStore, tmp_path: Path, keys: tuple[Path, Path], verifier: Verifier
) -> None:
    model = model_with(tmp_path, "a")
    number = publish(store, model, pushed()).version
    assert "is not signed" in refusal(verifier, path(store, number), number)

    again = publish(store, model, pushed(), signer=Signer(keys[0]))

    assert (again.status, again.version) == (PushStatus.UP_TO_DATE, number)
    verifier.verify(path(store, number), number)


def test_a_model_that_changes_while_it_is_pushed_is_not_signed(
    store: VersionStore,
    tmp_path: Path,
    keys: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = model_with(tmp_path, "a")
    next_number = store.next_number

    def meanwhile() -> int:
        (model / VARIABLES).write_text("weights of somebody else")
        return next_number()

    monkeypatch.setattr(store, "next_number", meanwhile)
    with pytest.raises(PublishError, match=f"changed while it was signed: {VARIABLES} differs"):
        publish(store, model, pushed(), signer=Signer(keys[0]))
    assert store.served() == []


KINDS: dict[str, Callable[[], PrivateKeyTypes]] = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "another curve": lambda: ec.generate_private_key(ec.SECP256K1()),
}


def write_key(
    file: Path, key: PrivateKeyTypes, lock: serialization.KeySerializationEncryption
) -> Path:
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(pem, pkcs8, lock))
    return file


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_another_kind_is_refused(tmp_path: Path, kind: str) -> None:
    file = write_key(tmp_path / "key.pem", KINDS[kind](), serialization.NoEncryption())
    with pytest.raises(KeyFileError, match=r"is not an unencrypted private key of an elliptic"):
        Signer(file)


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    lock = serialization.BestAvailableEncryption(b"x")
    with pytest.raises(KeyFileError, match="unencrypted"):
        Signer(write_key(tmp_path / "key.pem", key, lock))


def test_what_is_not_a_key_is_refused(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    private, public = keys
    (tmp_path / "text.pem").write_text("no key")
    with pytest.raises(KeyFileError, match=r"text\.pem is not a public key"):
        Verifier(tmp_path / "text.pem")
    with pytest.raises(KeyFileError, match="is not a public key"):
        Verifier(private)
    with pytest.raises(KeyFileError, match="is not an unencrypted private key"):
        Signer(public)
    with pytest.raises(KeyFileError, match=r"cannot read the key .*: No such file"):
        Signer(tmp_path / "absent.pem")
    with pytest.raises(KeyFileError, match=r"cannot read the key .*: Is a directory"):
        Verifier(tmp_path)
