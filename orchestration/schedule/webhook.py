"""Tells somebody else's program what happens: what is to be said waits in a folder until it was."""

import json
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from files.kept import set_aside
from files.whole import write_whole
from orchestration.schedule.model_log import ModelLog
from pipeline.settings.errors import UsageError

_TIMEOUT_SECONDS = 10.0
_LONGEST_PAUSE_SECONDS = 900.0
_MOST_WAITING = 100
_REPEATS = 3


class Webhook:
    """Posts messages one after the other, in a thread of its own, so that no run waits for it.

    A message is a file until the receiver has taken it, so that neither a receiver that is down nor
    a crash of this process loses it. After a crash it may come twice; its `run_id` tells.
    """

    def __init__(self, url: str, template: Path | None, folder: Path, log: ModelLog) -> None:
        """Makes the webhook; nothing is sent before `start` or `deliver`.

        Args:
            url: of the receiver.
            template: a Jinja template of the body, with the message's entries as variables; None:
                the body is the message as JSON.
            folder: where messages wait.
            log: for what becomes of them.

        Raises:
            UsageError: when the template is not there or not valid.
        """
        self._url = url
        self._template = template
        self._folder = folder
        self._log = log
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._deliver_until_stopped, daemon=True)
        # The rest of the address may hold a secret.
        self._receiver = urlsplit(url).netloc.rpartition("@")[2]
        if template:
            _check_template(template)

    def put(self, name: str, message: dict[str, Any]) -> None:
        """Takes a message in, in place of one of that name that still waits.

        Raises:
            OSError: when it cannot be written.
        """
        write_whole(self._folder / f"{name}.json", json.dumps(message))
        for oldest in self._waiting()[:-_MOST_WAITING]:
            oldest.unlink(missing_ok=True)
            self._log.error("%s is given up: %d newer messages wait", oldest.stem, _MOST_WAITING)

    def start(self) -> None:
        """Begins to send."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; what was not sent waits for the next start."""
        self._stop.set()
        self._thread.join(_TIMEOUT_SECONDS)

    def deliver(self) -> bool:
        """Sends what waits, oldest first, until the receiver cannot take it.

        Returns:
            Whether nothing waits any more.
        """
        return all(self._send(path) for path in self._waiting())

    def deliver_patiently(self) -> None:
        """Sends what waits, with further tries one, two, four seconds apart."""
        for repeat in range(_REPEATS + 1):
            if self.deliver() or repeat == _REPEATS or self._stop.wait(2.0**repeat):
                return

    def _deliver_until_stopped(self) -> None:
        failures = 0
        while not self._stop.wait(min(2.0 ** min(failures, 30), _LONGEST_PAUSE_SECONDS)):
            try:
                failures = 0 if self.deliver() else failures + 1
            except Exception as error:
                failures += 1
                self._log.error("the webhook cannot be served: %s: %s", type(error).__name__, error)

    def _waiting(self) -> list[Path]:
        paths = [path for path in self._folder.glob("[!.]*.json") if path.is_file()]
        return sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name))

    def _send(self, path: Path) -> bool:
        """Posts a message; returns whether it is done with, taken or refused for good.

        One that is damaged is kept as `<name>.unreadable`, so that others come after it.
        """
        import requests

        try:
            message = json.loads(path.read_bytes())
        except ValueError as error:
            what, aside = type(error).__name__, set_aside(path)
            self._log.error("%s is no message (%s); it is kept as %s", path, what, aside.name)
            return True
        try:
            with requests.post(
                self._url,
                data=self._body(message).encode(),
                headers={"Content-Type": "application/json"},
                timeout=_TIMEOUT_SECONDS,
                # A redirect leads to a place that the operator did not name.
                allow_redirects=False,
                # The body of the answer is of no interest, however long it is.
                stream=True,
            ) as answer:
                status = answer.status_code
        except requests.RequestException as error:
            return self._failed(path, type(error).__name__, lasts=False)
        if not 200 <= status < 300:
            passing = status == 429 or status >= 500
            return self._failed(path, f"HTTP {status}", lasts=not passing)
        self._log.info("%s: reported to the webhook at %s", path.stem, self._receiver)
        path.unlink(missing_ok=True)
        return True

    def _failed(self, path: Path, why: str, *, lasts: bool) -> bool:
        then = "it is given up" if lasts else "it is tried again"
        self._log.error(
            "%s: the webhook at %s failed: %s; %s", path.stem, self._receiver, why, then
        )
        if lasts:
            path.unlink(missing_ok=True)
        return lasts

    def _body(self, message: dict[str, Any]) -> str:
        text = json.dumps(message)
        if self._template is None:
            return text
        from jinja2 import Template, TemplateError

        try:
            return Template(self._template.read_text()).render(message)
        except (OSError, UnicodeDecodeError, TemplateError, TypeError, ValueError) as error:
            self._log.error("%s fails, JSON is sent instead: %s", self._template, error)
            return text


def _check_template(path: Path) -> None:
    from jinja2 import Environment, TemplateSyntaxError

    try:
        Environment().parse(path.read_text())
    except OSError as error:
        raise UsageError(f"schedule.webhook_template: {path}: {error.strerror}") from None
    except (TemplateSyntaxError, UnicodeDecodeError) as error:
        raise UsageError(f"schedule.webhook_template: {path} is not valid: {error}") from None
