"""A version on trial is judged until its trial has ended, by whomever."""

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from serving.edge.canary import CanaryError, Trial
from serving.edge.judge import ACCESS_LOG, Judge
from serving.edge.judgement import Verdict
from serving.edge.limits import Limits
from serving.versions.rollback import roll_back


@pytest.fixture
def judge(trial: Trial, tmp_path: Path) -> Judge:
    return Judge(trial, tmp_path, Limits(min_requests=100, min_seconds=0))


def answered(judge: Judge, count: int, canary_status: int = 200) -> None:
    """Notes so many requests of both variants in the edge's log."""
    lines = [
        {
            "time": time.time() + 1,
            "id": f"{variant}-{number}",
            "model": "grey",
            "variant": variant,
            "status": status,
            "seconds": 0.002,
            "server_seconds": "0.001",
        }
        for variant, status in (("stable", 200), ("canary", canary_status))
        for number in range(count)
    ]
    with (judge.folder / ACCESS_LOG).open("a") as log:
        log.writelines(json.dumps(line) + "\n" for line in lines)


def watched(judge: Judge, version: int, *meanwhile: Callable[[], object]) -> tuple[Verdict, str]:
    """Watches, with something done between two looks; returns how it ended, and what was said."""
    talk, events = io.StringIO(), iter(meanwhile)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serving.edge.judge.time", SimpleNamespace(sleep=lambda _: next(events)()))
        found = judge.watch(version, 10.0, talk)
    return found.verdict, talk.getvalue()


def test_each_judgement_that_differs_is_said_once_until_it_is_promoted(
    judge: Judge, trial: Trial, push: Callable[[], int]
) -> None:
    push()
    version = push()
    trial.begin(version, 10)
    nothing, more = lambda: None, lambda: answered(judge, 60)
    verdict, said = watched(judge, version, nothing, more, nothing, more)
    assert verdict is Verdict.PROMOTE
    assert said.splitlines() == [
        f"version {version}: nothing speaks against it so far; it has had {count} of 100 requests"
        for count in (0, 60)
    ]
    assert trial.current() is None


def test_a_bad_one_is_taken_back(judge: Judge, trial: Trial, push: Callable[[], int]) -> None:
    push()
    version = push()
    trial.begin(version, 10)
    verdict, _ = watched(judge, version, lambda: answered(judge, 60, canary_status=500))
    assert verdict is Verdict.ABORT


def test_a_bad_one_is_taken_back_though_stable_was_rolled_back(
    judge: Judge, trial: Trial, push: Callable[[], int]
) -> None:
    push()
    stable, version = push(), push()
    trial.begin(version, 10)
    verdict, _ = watched(
        judge,
        version,
        lambda: roll_back(trial.store, stable, "by hand"),
        lambda: answered(judge, 60, canary_status=500),
    )
    assert verdict is Verdict.ABORT


def test_a_bad_one_with_nothing_beside_it_is_watched_until_something_is(
    judge: Judge, trial: Trial, push: Callable[[], int]
) -> None:
    stable, version = push(), push()
    trial.begin(version, 10)
    roll_back(trial.store, stable, "by hand")
    answered(judge, 60, canary_status=500)
    verdict, said = watched(judge, version, lambda: None, push)
    assert verdict is Verdict.ABORT
    assert said.count(f"could not be judged: version {version} is the only one that is left") == 1


def test_the_trial_of_a_version_that_is_gone_is_written_off(
    judge: Judge, trial: Trial, push: Callable[[], int]
) -> None:
    push()
    version = push()
    trial.begin(version, 10)
    answered(judge, 120)
    roll_back(trial.store, version, "by hand")
    assert judge.act() is None
    assert trial.routes.percent() == 0


@pytest.mark.parametrize(
    ("end", "verdict"),
    [
        (lambda trial, push: trial.promote("by hand"), Verdict.PROMOTE),
        (lambda trial, push: trial.abort("by hand"), Verdict.ABORT),
        (lambda trial, push: trial.begin(push(), 20, supersede=True), Verdict.WAIT),
        (
            lambda trial, push: roll_back(trial.store, trial.current().version, "by hand"),
            Verdict.WAIT,
        ),
    ],
    ids=["promoted", "aborted", "another on trial", "rolled back"],
)
def test_what_others_end_ends_the_watching(
    judge: Judge,
    trial: Trial,
    push: Callable[[], int],
    end: Callable[[Trial, Callable[[], int]], object],
    verdict: Verdict,
) -> None:
    push()
    version = push()
    trial.begin(version, 10)
    assert watched(judge, version, lambda: end(trial, push))[0] is verdict


def test_a_server_that_is_away_is_waited_for(
    judge: Judge, trial: Trial, push: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    push()
    version = push()
    trial.begin(version, 10)
    answered(judge, 120)
    promote = Trial.promote

    def away(*_: object) -> None:
        monkeypatch.setattr(Trial, "promote", promote)
        raise CanaryError("no answer")

    monkeypatch.setattr(Trial, "promote", away)
    verdict, said = watched(judge, version, lambda: None)
    assert verdict is Verdict.PROMOTE
    assert said == f"version {version}: could not be judged: no answer\n"
