"""After the push: the live server must come to serve the version, and answer a request with it."""

import json
import logging
import time
from functools import partial
from pathlib import Path

from components.infra_validator.rest import rest_body, rest_path
from components.infra_validator.warmup_requests import read_warmup
from serving.addresses import base_url
from serving.client.errors import ClientError, ModelFailedError, NotAvailableError
from serving.client.rest_transport import ask
from serving.client.status import fetch_status, wait_until_available

logger = logging.getLogger(__name__)

_ANSWER_SECONDS = 30.0
_ATTEMPTS = 3
_PAUSE_SECONDS = 1.0


class LiveCheckError(Exception):
    """The live server answers, and does not serve the version that was pushed, or wrongly."""


class LiveServerSilentError(Exception):
    """The live server could not be asked; that says nothing about the version."""


def check_live_server(
    server: str, model_name: str, version: int, model: Path, timeout_seconds: float
) -> None:
    """Waits until a server reports the version AVAILABLE, and has it answer one request.

    The request is the model's own first warmup request.

    Args:
        server: REST address, `http://host:port`.
        model_name: under which the server serves the model.
        version: the version that was pushed.
        model: the SavedModel.
        timeout_seconds: how long the version may take to become AVAILABLE.

    Raises:
        LiveCheckError: with what the server said instead.
        LiveServerSilentError: it said nothing about the version; a proxy before it may have said
            that it cannot be asked now.
    """
    try:
        wait_until_available(
            partial(fetch_status, server, model_name),
            timeout_seconds,
            f"version {version} of {model_name}",
            wanted=[version],
        )
    except NotAvailableError as error:
        if error.answered:
            raise LiveCheckError(_not_served(server, version, model_name, error)) from error
        raise LiveServerSilentError(
            f"{server} could not be asked whether it serves version {version} of {model_name}: "
            f"{error.seen}."
        ) from error
    except ModelFailedError as error:
        raise LiveCheckError(_not_served(server, version, model_name, error)) from error
    for request in read_warmup(model):
        path = rest_path(request).replace(":", f"/versions/{version}:")
        _post(f"{base_url(server)}{path}", json.dumps(rest_body(request)).encode())
        logger.info("live server %s answers with version %d", server, version)
        return


def _post(url: str, body: bytes) -> None:
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            ask(url, _ANSWER_SECONDS, body)
            return
        except ClientError as error:
            if not error.is_accident:
                raise LiveCheckError(f"Live check failed: {url} answered {error}") from error
            if attempt == _ATTEMPTS:
                raise LiveServerSilentError(f"{url} did not answer: {error.message}") from error
        time.sleep(_PAUSE_SECONDS)


def _not_served(server: str, version: int, model_name: str, error: ClientError) -> str:
    return (
        f"Live check failed: {server} did not serve version {version} of {model_name}: "
        f"{error.message}."
    )
