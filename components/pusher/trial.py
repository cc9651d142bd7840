"""A push that begins as a canary: who unlabelled requests reach does not change by it."""

import logging
from collections.abc import Callable

from serving.client.errors import ClientError
from serving.edge.canary import CanaryError, Trial
from serving.versions.publish import PublishOutcome, PushStatus
from serving.versions.storage import PublishError

logger = logging.getLogger(__name__)


def pushed_on_trial(trial: Trial, publish: Callable[[], PublishOutcome]) -> PublishOutcome:
    """Publishes while the edge keeps all clients where they are.

    What is served first has nobody to be compared with, and is published as usual.

    Args:
        trial: where trials of the model take place.
        publish: makes the version appear, or not.

    Raises:
        PublishError: clients could not be kept where they are. Nothing was pushed.
    """
    served = [version.number for version in trial.store.served()]
    try:
        if served and trial.current() is None and not trial.routes.pinned.exists():
            trial.pin(served[0])
    except (CanaryError, ClientError, OSError) as error:
        raise PublishError(f"No trial could be prepared: {error}. Nothing was pushed.") from error
    is_pushed = False
    try:
        outcome = publish()
        is_pushed = outcome.status is PushStatus.PUSHED
        return outcome
    finally:
        if not is_pushed:
            trial.restore()


def begin_trial(trial: Trial, version: int, percent: int) -> str:
    """Has a share of the clients meet a version that was pushed; returns why not, if not.

    It takes the place of a version that is on trial: that one is older, and stays out of sight.
    """
    try:
        known = trial.current()
        # A retry of a push finds what has come of it since.
        is_known = version in (known.version if known else None, trial.stable())
        if not is_known and len(trial.store.served()) > 1:
            trial.begin(version, percent, "pushed", supersede=True)
    except (CanaryError, ClientError, OSError) as error:
        return f"version {version} is pushed, but no client of the edge meets it: {error}"
    return ""
