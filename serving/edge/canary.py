"""A new version that a share of the clients meets before all do: begin, promote, abort.

While there is a canary, the edge sends unlabelled requests to the labels `stable` and `canary`.
Before and after, they go unlabelled to the newest version, which a canary always is: promoting
leaves it there, aborting rolls it back. Between canaries the label `canary` names the version that
`stable` names, so that no request that is under way, and no gRPC client that asks for the label,
meets a gap.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, Field

from serving.addresses import base_url
from serving.client.errors import ClientError, UnavailableError, understood
from serving.client.status import known_versions, parse_statuses
from serving.edge.routes import Routes
from serving.versions.journal import Action, Entry, who, write_entry
from serving.versions.labels import move_label, read_labels
from serving.versions.rollback import roll_back
from serving.versions.store import VersionStore

logger = logging.getLogger(__name__)

STABLE = "stable"
CANARY = "canary"

_FILE = ".versions/canary.json"
_LABEL_SECONDS = 90.0
_POLL_SECONDS = 0.1
_ANSWER_SECONDS = 5.0
# Without a server to ask: time for one that re-reads its configuration every few seconds.
_BLIND_SECONDS = 10.0


class CanaryError(ValueError):
    """There can be no such canary now; the message says why and what to do."""


class Canary(BaseModel):
    """A version on trial.

    Attributes:
        version: that is tried.
        stable: the version that the other clients meet.
        percent: share of the clients that meet it.
        since: when the trial began, UTC.
        changed: when the share was set last, UTC.
        who: began it.
        reason: why, if that was said.
    """

    version: int
    stable: int
    percent: int = Field(ge=0, le=100)
    since: datetime = Field(default_factory=lambda: datetime.now(UTC))
    changed: datetime = Field(default_factory=lambda: datetime.now(UTC))
    who: str = Field(default_factory=who)
    reason: str = ""


@dataclass(frozen=True)
class Trial:
    """Where trials of one model take place.

    Attributes:
        store: the model's base directory, a local folder.
        model_name: under which the server serves the model.
        server: REST address of the model server; None: it is given time instead of asked.
    """

    store: VersionStore
    model_name: str
    server: str | None = None

    @property
    def routes(self) -> Routes:
        """What the edge looks for."""
        return Routes(Path(self.store.storage.base))

    def current(self) -> Canary | None:
        """Returns the version on trial, or None; one that is no longer served is on trial no more.

        Raises:
            CanaryError: the record of it cannot be read.
        """
        canary = self._recorded()
        if canary is None:
            return None
        # Listed after the record was read: what it names was pushed before.
        served = self._served()
        return self._as_it_is(canary, served) if canary.version in served else None

    def stable(self) -> int | None:
        """Returns the version that the label of the other clients names, or None."""
        labels = read_labels(self.store)
        return labels.labels.get(STABLE) if labels else None

    def begin(
        self, version: int, percent: int, reason: str = "", *, supersede: bool = False
    ) -> Canary:
        """Has a share of the clients meet the newest version, or changes that share.

        Args:
            version: the newest one.
            percent: of the clients.
            reason: for the record.
            supersede: end another trial, whose version then meets nobody.

        Raises:
            CanaryError: it is not the newest, it is the only one, or another one is on trial.
            serving.client.errors.ClientError: the server did not come to know the labels.
        """
        known = self.current()
        if known is not None and known.version == version:
            now = {"percent": percent, "changed": datetime.now(UTC)}
            return self._share(known.model_copy(update=now), reason)
        if known is not None and not supersede:
            raise CanaryError(
                f"version {known.version} is on trial with {known.percent} % of the clients: "
                "promote or abort it first"
            )
        stable = self._stable_beside(version)
        self.pin(stable)
        self._label(CANARY, version)
        canary = Canary(version=version, stable=stable, percent=percent, reason=reason)
        return self._share(canary, reason)

    def pin(self, stable: int) -> None:
        """Keeps all clients of the edge at a version, whatever is pushed.

        Raises:
            serving.client.errors.ClientError: the server did not come to know the label.
        """
        self._label(STABLE, stable)
        self.routes.show(pinned=True, percent=0)

    def promote(self, reason: str = "") -> Canary:
        """Has all clients meet the version on trial.

        Raises:
            CanaryError: there is none.
        """
        canary = self._required(self.current())
        self._label(STABLE, canary.version)
        self._end(canary, Action.PROMOTED, reason)
        self.restore()
        return canary

    def abort(self, reason: str) -> Canary:
        """Takes the version on trial back: no client meets it any more, and it is rolled back.

        If it was already, by other means, this ends its trial.

        Raises:
            CanaryError: there is none, or nothing would be left to serve.
        """
        recorded = self._required(self._recorded())
        served = self._served()
        canary = self._as_it_is(recorded, served)
        if served == [canary.version]:
            raise CanaryError(
                f"version {canary.version} is the only one that is left to serve: promote it, or "
                "push another one first"
            )
        self.routes.show(pinned=True, percent=0)
        self._label(CANARY, canary.stable if canary.stable in served else None)
        if canary.version in served:
            roll_back(self.store, canary.version, reason)
        # Until then it is the newest version, which clients meet that ask for no label.
        self._wait_until_gone(canary.version)
        self._end(canary, Action.ABORTED, reason)
        self.restore()
        return canary

    def write_off(self) -> None:
        """Ends the trial of a version that was rolled back by other means.

        Raises:
            CanaryError: the record of it cannot be read.
        """
        canary = self._recorded()
        if canary is not None and canary.version not in self._served():
            version = self.store.get(canary.version)
            note = version.record.rolled_back if version and version.record else None
            self.abort(note.reason if note else "it is no longer served")

    def restore(self) -> Canary | None:
        """Makes the routes follow from what is written, after a start or an interruption."""
        canary = self.current()
        if canary is not None:
            self.routes.show(pinned=True, percent=canary.percent)
            return canary
        stable, served = self.stable(), self._served()
        # What is newer than stable and was neither promoted nor taken back stays out of sight.
        behind = self.routes.pinned.exists() and stable in served and stable != served[0]
        self.routes.show(pinned=behind, percent=0)
        return None

    def _share(self, canary: Canary, reason: str) -> Canary:
        because = f"{canary.percent} % of the clients{_because(reason)}"
        with self.store.storage.lock():
            self._write(canary, Action.CANARY, because, canary.model_dump_json(indent=2))
        self.routes.show(pinned=True, percent=canary.percent)
        return canary

    def _recorded(self) -> Canary | None:
        """Returns the trial that has begun and not ended, whatever has come of its versions."""
        try:
            text = self.store.storage.read(_FILE)
            return Canary.model_validate_json(text) if text else None
        except self.store.storage.unreadable as error:
            path = self.store.storage.uri(_FILE)
            raise CanaryError(
                f"{path} cannot be read ({str(error).partition(chr(10))[0]}); remove it to send "
                "all clients to the stable version, and begin again"
            ) from error

    def _as_it_is(self, canary: Canary, served: Sequence[int]) -> Canary:
        """Returns a trial with the version that the other clients meet now.

        Where that of the trial's beginning was rolled back, its label has moved on.
        """
        stable = self.stable()
        others = [number for number in served if number != canary.version]
        if stable not in others:
            older = (number for number in others if number < canary.version)
            stable = next(older, max(others, default=canary.stable))
        return canary.model_copy(update={"stable": stable})

    def _required(self, canary: Canary | None) -> Canary:
        if canary is None:
            raise CanaryError("no version is on trial; `models canary N --percent P` begins one")
        return canary

    def _served(self) -> list[int]:
        """Returns the versions that are served, newest first."""
        return [version.number for version in self.store.served()]

    def _stable_beside(self, version: int) -> int:
        served = self._served()
        if version not in served:
            raise CanaryError(
                f"version {version} is not served from {self.store.storage.base}; served are "
                f"{', '.join(map(str, served)) or 'none'}"
            )
        if version != served[0]:
            raise CanaryError(
                f"version {version} is older than {served[0]}, and a canary is the newest version; "
                "`models rollback` goes back to an older one"
            )
        if len(served) == 1:
            raise CanaryError(f"version {version} is the only one: there is none to compare with")
        pinned = self.stable() if self.routes.pinned.exists() else None
        return pinned if pinned in served and pinned != version and pinned else served[1]

    def _label(self, label: str, version: int | None) -> None:
        """Points a label at a version, or removes it when there is none, and waits for servers."""
        labels = read_labels(self.store)
        if not labels or labels.labels.get(label) != version:
            move_label(
                self.store,
                label,
                version,
                model_name=labels.model_name if labels else self.model_name,
                base_path=None,
                wait_until_loaded=self._wait_until_loaded,
            )
            if self.server is None:
                time.sleep(_BLIND_SECONDS)
        if self.server is not None and version is not None:
            wait_until_labelled(self.server, self.model_name, label, version)

    def _wait_until_loaded(self, version: int) -> None:
        if self.server is None:
            time.sleep(_BLIND_SECONDS)
        else:
            _wait_for(self.server, self.model_name, f"versions/{version}", version)

    def _wait_until_gone(self, version: int) -> None:
        if self.server is None:
            time.sleep(_BLIND_SECONDS)
            return
        deadline = time.monotonic() + _LABEL_SECONDS
        while time.monotonic() < deadline:
            with suppress(UnavailableError):
                status = known_versions(self.server, self.model_name).get(version)
                if status is None or not status.is_available:
                    return
            time.sleep(_POLL_SECONDS)

    def _end(self, canary: Canary, action: Action, reason: str) -> None:
        """Ends a trial, unless others did meanwhile, and may have begun another."""
        with self.store.storage.lock():
            now = self._recorded()
            if now and (now.version, now.since) == (canary.version, canary.since):
                self._write(canary, action, reason, "")

    def _write(self, canary: Canary, action: Action, reason: str, record: str) -> None:
        # First, so that no trial has ended without a reason.
        write_entry(
            self.store, Entry(action=action, version=canary.version, label=CANARY, reason=reason)
        )
        self.store.storage.write(_FILE, record)


def wait_until_labelled(server: str, model_name: str, label: str, version: int) -> None:
    """Returns once a server answers for a label with a version.

    The model's status does not tell: it has all versions, whatever label it is asked for.

    Raises:
        CanaryError: it did not in time.
    """

    def of_metadata(url: str, answer: Any) -> list[int]:
        with understood(url):
            return [int(answer["model_spec"]["version"])]

    _wait_for(server, model_name, f"labels/{quote(label, safe='')}/metadata", version, of_metadata)


def _available(url: str, answer: Any) -> list[int]:
    return [each.version for each in parse_statuses(url, answer) if each.is_available]


def _wait_for(
    server: str,
    model_name: str,
    what: str,
    version: int,
    versions_in: Callable[[str, Any], list[int]] = _available,
) -> None:
    from serving.client.rest_transport import ask

    url = f"{base_url(server)}/v1/models/{quote(model_name, safe='')}/{what}"
    deadline = time.monotonic() + _LABEL_SECONDS
    while True:
        try:
            found = versions_in(url, ask(url, _ANSWER_SECONDS))
            if version in found:
                return
            seen = f"version {found[0]}" if found else "no version"
        except ClientError as error:
            seen = error.message
        if time.monotonic() > deadline:
            raise CanaryError(
                f"{url} did not come to be version {version} ({seen}); a server must have been "
                "started with models.config (--model_config_file), as `serve --edge` does"
            )
        time.sleep(_POLL_SECONDS)


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
