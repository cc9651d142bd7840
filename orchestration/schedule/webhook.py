"""Tells somebody else's program about a run."""

import logging
from urllib.parse import urlsplit

from runs.result import RunResult

logger = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 10.0


def post(url: str, result: RunResult, repeats: int = 3) -> None:
    """Posts the result as JSON; a receiver that cannot be reached never stops the schedule.

    After a crash a result may come twice; its `run_id` tells.

    Args:
        url: of the receiver.
        result: of a run that is over.
        repeats: further tries, one, two, four seconds apart, when the receiver is not there or
            answers 5xx or 429.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    # The rest of the address may hold a secret.
    receiver = urlsplit(url).netloc.rpartition("@")[2]
    retry = Retry(
        repeats,
        backoff_factor=0.5,
        allowed_methods=None,
        status_forcelist=(429, 500, 502, 503, 504),
    )
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        try:
            answer = session.post(
                url,
                data=result.model_dump_json(),
                headers={"Content-Type": "application/json"},
                timeout=_TIMEOUT_SECONDS,
            )
            answer.raise_for_status()
        except requests.RequestException as error:
            logger.error(
                "run %s: the webhook at %s failed: %s",
                result.run_id,
                receiver,
                type(error).__name__,
            )
            return
    logger.info("run %s: reported to the webhook at %s", result.run_id, receiver)
