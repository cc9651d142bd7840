"""Signatures of versions, in the format of OpenSSF Model Signing, with a key and no network.

A version's signature lies beside its record, `<base>/.versions/<N>.sig`. It is a Sigstore bundle
around an in-toto statement (https://github.com/ossf/model-signing-spec) that lists the SHA-256 of
every file of the version; `model_signing verify key <base>/<N> --signature <base>/.versions/<N>.sig
--public_key public.pem` verifies it without this project. The statement's subject is named
`<N>?record=sha256:<digest>`: so neither the record (its checksums, metrics, spans) nor the number,
by which an old version would come back as the newest, can be changed.

Importing this module imports `model_signing`, 0.1 s: import it where something is signed or
verified.
"""

import base64
import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography.exceptions import InvalidSignature
from model_signing import hashing, manifest, signing, verifying

from serving.versions.record import Pushed, VersionRecord
from serving.versions.storage import PublishError, differences

# What is in a record from the push on; notes on what became of the version come later.
_SIGNED_FIELDS = {*Pushed.model_fields, "version", "pushed_at", "checksums"}
_KEYS = "of an elliptic curve (P-256, P-384 or P-521) in PEM"


class KeyFileError(ValueError):
    """A key file that cannot be used; the message is one sentence."""


class SignatureError(Exception):
    """A version that is not what was signed, or not signed at all; the message is one sentence."""


class Signer:
    """Signs versions with a private key."""

    def __init__(self, private_key: Path) -> None:
        """Raises KeyFileError if the file is not an unencrypted private key."""
        try:
            self._config = signing.Config().use_elliptic_key_signer(private_key=private_key)
        except Exception as error:
            raise _unusable(private_key, f"an unencrypted private key {_KEYS}", error) from error

    def sign(self, model: Path, record: VersionRecord) -> str:
        """Returns the signature of a model that is to become the version of a record.

        Raises:
            PublishError: the model does not have the record's checksums.
        """
        contents = _Contents(_subject(record.version, record.model_dump_json()))
        with TemporaryDirectory() as folder:
            file = Path(folder) / "signature"
            copy.copy(self._config).set_hashing_config(contents).sign(model, file)
            text = file.read_text()
        if contents.checksums != record.checksums:
            changed = differences(record.checksums, contents.checksums)
            raise PublishError(f"{model} changed while it was signed: {changed}.")
        return text


class Verifier:
    """Tells whether versions are what the owner of a key has signed."""

    def __init__(self, public_key: Path) -> None:
        """Raises KeyFileError if the file is not a public key."""
        self._public_key = public_key
        try:
            self._config = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
        except Exception as error:
            raise _unusable(public_key, f"a public key {_KEYS}", error) from error

    def verify(self, directory: Path, version: int) -> None:
        """Returns if a version's directory, number and record are what was signed.

        Raises:
            SignatureError: they are not.
            OSError: a file cannot be read.
        """
        records = directory.parent / ".versions"
        file = records / f"{version}.sig"
        signature = _read(file)
        if signature is None:
            raise SignatureError(f"version {version} is not signed: there is no {file}")
        statement = self._verified_statement(directory, version, signature)
        record = _read(records / f"{version}.json")
        if record is None:
            raise SignatureError(f"version {version} has lost its record, which was signed with it")
        signed = statement["subject"][0]["name"]
        if signed.partition("?")[0] != str(version):
            raise SignatureError(
                f"version {version} was signed as version {signed.partition('?')[0]}"
            )
        if signed != _subject(version, record):
            raise SignatureError(f"the record of version {version} was edited after it was signed")

    def _verified_statement(self, directory: Path, version: int, signature: str) -> Any:
        """Returns the signed statement if it is authentic and the files are those it lists."""
        contents = _Contents()
        with TemporaryDirectory() as folder:
            # What is verified and what is read afterwards must be the same bytes.
            file = Path(folder) / "signature"
            file.write_text(signature)
            try:
                copy.copy(self._config).set_hashing_config(contents).verify(directory, file)
            except OSError:
                raise
            except Exception as error:
                if not contents.were_asked_for:
                    raise self._not_authentic(version, error) from error
                changed = _changes(signature, contents.checksums) or str(error)
                text = f"version {version} is not what was signed: {changed}"
                raise SignatureError(text) from error
        return _statement(signature)

    def _not_authentic(self, version: int, error: Exception) -> SignatureError:
        if isinstance(error, InvalidSignature):
            return SignatureError(
                f"the signature of version {version} was altered, or made with another key than "
                f"that of {self._public_key}"
            )
        if "Key mismatch" in str(error):
            return SignatureError(
                f"version {version} was signed with another key than that of {self._public_key}"
            )
        return SignatureError(
            f"the signature of version {version} is unreadable: {type(error).__name__}: {error}"
        )


class _Contents(hashing.Config):
    """Hashes all files of a version, and names the subject of a signature.

    Attributes:
        were_asked_for: a verification asks for the files once the signature is authentic.
        checksums: what was found.
    """

    def __init__(self, subject: str | None = None) -> None:
        super().__init__()
        self.set_ignored_paths(paths=[], ignore_git_paths=False)
        self._subject = subject
        self.were_asked_for = False
        self.checksums: dict[str, str] = {}

    def hash(
        self, model_path: Any, *, files_to_hash: Iterable[Any] | None = None
    ) -> manifest.Manifest:
        self.were_asked_for = True
        found = super().hash(model_path, files_to_hash=files_to_hash)
        items = list(found.resource_descriptors())
        self.checksums = {item.identifier: item.digest.digest_hex for item in items}
        kind = manifest.SerializationType.from_args(found.serialization_type)
        named = [kind.new_item(item.identifier, item.digest) for item in items]
        return manifest.Manifest(self._subject or found.model_name, named, kind)


def _subject(version: int, record: str) -> str:
    """Returns the name of what is signed: number and digest of the record as it was pushed.

    Empty fields do not count: a later release may write fields that an older one did not know.
    """
    try:
        fields = json.loads(record)
        pushed = {
            name: value
            for name, value in fields.items()
            if name in _SIGNED_FIELDS and value not in (None, "", [], {})
        }
    except (ValueError, AttributeError):
        pushed = {}
    canonical = json.dumps(pushed, sort_keys=True, separators=(",", ":"))
    return f"{version}?record=sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _changes(signature: str, found: Mapping[str, str]) -> str:
    resources = _statement(signature)["predicate"]["resources"]
    signed = {item["name"]: item["digest"] for item in resources}
    return differences(signed, found) if found else ""


def _statement(signature: str) -> Any:
    payload = json.loads(signature)["dsseEnvelope"]["payload"]
    return json.loads(base64.b64decode(payload, validate=True))


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return None


def _unusable(path: Path, wanted: str, error: Exception) -> KeyFileError:
    if isinstance(error, OSError):
        return KeyFileError(f"cannot read the key {path}: {error.strerror}")
    return KeyFileError(f"{path} is not {wanted}")
