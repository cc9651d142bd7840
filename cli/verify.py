"""Signatures as the command line knows them: the key that signs, and the verdict on a version."""

from pathlib import Path

from pydantic import BaseModel

from pipeline.settings.config import Config
from pipeline.settings.errors import UsageError
from serving.versions.labels import UnknownVersionError
from serving.versions.store import VersionStore


class Verdict(BaseModel):
    """Whether a version is what was signed, and if not, why."""

    version: int
    verified: bool
    reason: str = ""


def check_signing_key(config: Config) -> None:
    """Raises UsageError if what is pushed is to be signed with a key that cannot be used."""
    if config.signing_key is None:
        return
    from serving.versions.signature import KeyFileError, Signer

    try:
        Signer(config.signing_key)
    except KeyFileError as error:
        raise UsageError(f"push.sign_with: {error}") from None


def check_public_key(flag: str, key: Path) -> None:
    """Raises UsageError, which names the flag, if a key cannot verify signatures."""
    from serving.versions.signature import KeyFileError, Verifier

    try:
        Verifier(key)
    except KeyFileError as error:
        raise UsageError(f"{flag}: {error}") from None


def verify_version(config: Config, number: int, key: Path) -> Verdict:
    """Says whether a served or rolled-back version is what the key's owner signed.

    Raises:
        UsageError: the key cannot be used, or the versions are not on this machine.
        UnknownVersionError: there is no such version, or it was pruned.
    """
    from serving.versions.signature import SignatureError, Verifier

    if config.pushes_to_uri:
        raise UsageError(
            f"models verify works on local folders; copy {config.serving_base} here and name the "
            "copy with --set push.destination=FOLDER"
        )
    check_public_key("--key", key)
    version = VersionStore(config.serving_base).get(number)
    if version is None or version.directory is None:
        raise UnknownVersionError(f"There is no version {number} in {config.serving_base}.")
    try:
        Verifier(key).verify(Path(version.directory), number)
    except SignatureError as error:
        return Verdict(version=number, verified=False, reason=str(error))
    return Verdict(version=number, verified=True)
