"""What a running model server says about a model's versions, over TensorFlow Serving's REST API."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

_POLL_SECONDS = 0.2


class ServerUnreachableError(Exception):
    """No model server answers at the address."""


@dataclass(frozen=True)
class LiveState:
    """The state of one version, as GetModelStatus names it: `AVAILABLE`, `LOADING`, `END`, ..."""

    state: str
    error: str = ""


def live_states(server: str, model_name: str, timeout_seconds: float = 5.0) -> dict[int, LiveState]:
    """Asks a server for the states of a model's versions; none for a model it does not know.

    Args:
        server: REST address, `http://host:port`; the scheme may be left out.
        model_name: under which the server serves the model.
        timeout_seconds: for the answer.

    Raises:
        ServerUnreachableError: nothing answers there, or no model server.
    """
    url = f"{base_url(server)}/v1/models/{model_name}"
    try:
        with urllib.request.urlopen(url, timeout=timeout_seconds) as response:
            statuses = json.load(response)["model_version_status"]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return {}
        raise ServerUnreachableError(f"{url} answered {error.code} {error.reason}") from error
    except (OSError, ValueError, KeyError) as error:
        raise ServerUnreachableError(f"no model server answers at {url}: {error}") from error
    return {
        int(status["version"]): LiveState(
            status["state"], status.get("status", {}).get("error_message", "")
        )
        for status in statuses
    }


def wait_until_available(
    server: str, model_name: str, version: int, timeout_seconds: float
) -> None:
    """Waits until a server reports a version AVAILABLE.

    Raises:
        TimeoutError: it did not in time, or gave the version up; the text says which.
    """
    deadline = time.monotonic() + timeout_seconds
    said = "nothing"
    while time.monotonic() < deadline:
        try:
            found = live_states(server, model_name).get(version)
            said = f"{found.state} {found.error}".strip() if found else "no such version"
        except ServerUnreachableError as error:
            found, said = None, str(error)
        if found is not None and found.state == "AVAILABLE":
            return
        if found is not None and found.state == "END" and found.error:
            break
        time.sleep(_POLL_SECONDS)
    raise TimeoutError(
        f"{base_url(server)} did not serve version {version} of {model_name} "
        f"within {timeout_seconds:g} s: {said}"
    )


def base_url(server: str) -> str:
    """Returns a server's address with its scheme and without a trailing slash."""
    return (server if "://" in server else f"http://{server}").rstrip("/")
