"""The one interface to a served model, whichever API of the server carries the requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from serving.status import VersionStatus

Feature: TypeAlias = bytes | str | float | int | Sequence[bytes | str | float | int]
"""A feature of a tf.Example; its Python type decides the kind, as its JSON type does over REST."""

Example: TypeAlias = Mapping[str, Feature]


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a signature: numpy dtype name or `string`; shape with None for unknown sizes.

    `shape` is None if not even the number of dimensions is known.
    """

    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a signature, by alias."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


class ScoredLabel(NamedTuple):
    """One class of a classification."""

    label: str
    score: float


class PreparedPicture(Protocol):
    """A picture as the model is shown it.

    Attributes:
        encoded: its bytes, PNG or JPEG.
        plain_background: whether the object could be told from what is around it.
        note: what it is, in a sentence for whoever sees it.
    """

    @property
    def encoded(self) -> bytes: ...

    @property
    def plain_background(self) -> bool: ...

    @property
    def note(self) -> str: ...


Prepare: TypeAlias = Callable[[bytes], PreparedPicture]
"""Makes a file's bytes into what the model was trained on; ValueError says why it cannot."""


class ModelClient(Protocol):
    """Asks one model of a model server.

    `version` and `label` select a version, at most one of them; without, the server takes the
    newest. An empty label is none; an empty `signature_name` means `serving_default`. All calls
    raise ClientError, and nothing else.
    """

    def status(self, version: int | None = None) -> list[VersionStatus]:
        """All versions that the server knows, newest first, or the given one."""

    def wait_until_available(
        self, version: int | None = None, timeout: float = 60.0
    ) -> VersionStatus:
        """Waits up to `timeout` seconds until a version, or the given one, is AVAILABLE.

        Raises ModelFailedError as soon as the server has given it up, else TimeoutExceededError.
        """

    def signature(
        self, signature_name: str = "", version: int | None = None, label: str | None = None
    ) -> Signature:
        """What a signature takes and gives."""

    def predict(
        self,
        inputs: Mapping[str, Any],
        signature_name: str = "",
        version: int | None = None,
        label: str | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs a signature on arrays (or nested lists) by alias; returns arrays by alias.

        Strings are given as bytes or str. They are returned as str, or as bytes if the alias of
        the output ends in `_bytes`, in arrays of objects. Raises ScaledPixelsError for images
        whose largest pixel is above 0 and at most 1.
        """

    def classify(
        self,
        examples: Sequence[Example],
        signature_name: str = "",
        version: int | None = None,
        label: str | None = None,
    ) -> list[list[ScoredLabel]]:
        """The classes of each example, in the order the model gives them."""

    def close(self) -> None:
        """Closes the connections."""
