"""Acts on what the edge has seen of a version on trial: promotes it, or takes it back."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from serving.client.errors import ClientError
from serving.edge.access_log import read_access
from serving.edge.answer_log import read_answers
from serving.edge.canary import CANARY, CanaryError, Trial
from serving.edge.judgement import Judgement, Verdict, judge
from serving.edge.limits import Limits
from serving.versions.journal import Action, read_entries
from serving.versions.labels import UnknownVersionError

ACCESS_LOG = "access.log"
ANSWER_LOG = "answers.log"

_ENDINGS = {Action.PROMOTED: Verdict.PROMOTE, Action.ABORTED: Verdict.ABORT}


@dataclass(frozen=True)
class Judge:
    """Judges one model's trials. It remembers nothing: logs and the trial's record say it all.

    Attributes:
        trial: where trials take place.
        folder: of the edge, with its logs.
        limits: when a trial ends.
    """

    trial: Trial
    folder: Path
    limits: Limits

    def judge(self) -> Judgement | None:
        """Returns what is to be done with the version on trial; None: there is none."""
        canary = self.trial.current()
        if canary is None:
            return None
        begin = canary.since.timestamp()
        accesses = [
            each
            for each in read_access(self.folder / ACCESS_LOG, begin)
            if each.model == self.trial.model_name
        ]
        # What the recorder asked after a trial had ended was answered by another version.
        versions = {CANARY: canary.version}
        answers = [
            each
            for each in read_answers(self.folder / ANSWER_LOG, begin)
            if each.version == versions.get(each.variant, canary.stable)
        ]
        age = (datetime.now(UTC) - canary.since).total_seconds()
        return judge(accesses, answers, self.limits, age)

    def act(self) -> Judgement | None:
        """Judges, and does what follows; the reasons go to the versions' history.

        The trial of a version that was rolled back by other means is written off.

        Raises:
            CanaryError: the record of the trial cannot be read.
        """
        self.trial.write_off()
        found = self.judge()
        if found is None:
            return None
        reason = "; ".join(found.reasons)
        if found.verdict is Verdict.PROMOTE:
            self.trial.promote(reason)
        elif found.verdict is Verdict.ABORT:
            self.trial.abort(reason)
        return found

    def watch(self, version: int, every_seconds: float, talk: TextIO) -> Judgement:
        """Judges a version until its trial has ended, by whomever; returns how it ended.

        The verdict is WAIT where it neither was promoted nor taken back: another version took its
        place, or it was rolled back by other means.

        Args:
            version: that is on trial.
            every_seconds: between looks.
            talk: gets a line a judgement that differs from the one before.

        Raises:
            CanaryError: the record of the trial cannot be read.
        """
        told = ""
        while self._is_on_trial(version):
            try:
                found = self.act()
                if found is not None and found.verdict is not Verdict.WAIT:
                    return found
                said = "; ".join(found.reasons) if found else told
            except (CanaryError, UnknownVersionError, ClientError, OSError) as error:
                # The server may be back at the next look.
                said = f"could not be judged: {error}"
            if said != told:
                print(f"version {version}: {said}", file=talk, flush=True)
            told = said
            time.sleep(every_seconds)
        return self._ended_by_others(version)

    def _is_on_trial(self, version: int) -> bool:
        current = self.trial.current()
        return current is not None and current.version == version

    def _ended_by_others(self, version: int) -> Judgement:
        of_trial = [
            entry
            for entry in read_entries(self.trial.store)
            if entry.version == version and entry.action in {Action.CANARY, *_ENDINGS}
        ]
        last = of_trial[-1] if of_trial else None
        if last is None or last.action not in _ENDINGS:
            why = "it is not on trial any more, and was neither promoted nor taken back"
            return Judgement(verdict=Verdict.WAIT, reasons=[why], variants=[])
        return Judgement(verdict=_ENDINGS[last.action], reasons=[last.reason], variants=[])


@contextmanager
def judging(judge: Judge, every_seconds: float, talk: TextIO) -> Iterator[None]:
    """Judges again and again for the length of a `with` block, beside whatever it does.

    Args:
        judge: of one model.
        every_seconds: between looks.
        talk: gets a line when a trial has ended, or cannot be judged.
    """
    stopping = threading.Event()

    def look() -> None:
        told = ""
        while not stopping.wait(every_seconds):
            try:
                found = judge.act()
                ended = found is not None and found.verdict is not Verdict.WAIT
                said = f"{found.verdict}: {'; '.join(found.reasons)}" if found and ended else ""
            except Exception as error:  # the server may be back at the next look
                said = f"the version on trial could not be judged: {error}"
            if said and said != told:
                print(said, file=talk, flush=True)
            told = said

    # A look may wait for a server that is going away: nobody waits for the look.
    threading.Thread(target=look, daemon=True).start()
    try:
        yield
    finally:
        stopping.set()
