"""How a verb on versions ends: with its result, or with what the user can set right."""

import json
from collections.abc import Iterator
from contextlib import contextmanager


def say(as_json: bool, result: dict[str, object], text: str) -> None:
    """Prints the result as one JSON object, or the sentence."""
    print(json.dumps(result) if as_json else text)


@contextmanager
def usage_errors() -> Iterator[None]:
    """Turns what the user can set right into one sentence and exit code 2."""
    from pipeline.settings.errors import UsageError
    from serving.client.errors import ClientError
    from serving.edge.canary import CanaryError
    from serving.versions.labels import UnknownVersionError

    try:
        yield
    except (UnknownVersionError, CanaryError) as error:
        raise UsageError(str(error)) from error
    except ClientError as error:
        raise UsageError(error.message) from error
