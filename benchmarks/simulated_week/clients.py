"""Clients that ask a live model server one request after another, and count what they get."""

import threading
import time
from types import TracebackType
from typing import Self

import numpy as np

from serving.client.errors import ClientError
from serving.client.grpc_client import GrpcClient
from serving.client.interface import ModelClient
from serving.client.rest_client import RestClient
from serving.client.retry import Retries

_SECONDS_BETWEEN_REQUESTS = 0.05
_IMAGES = np.full([1, 28, 28, 1], 200, np.float32)


class SteadyClients:
    """One client over REST and one over gRPC, for the length of a `with` block.

    A request that fails is not tried again.

    Attributes:
        answered: requests by the client that sent them.
        failures: what went wrong, a sentence each.
    """

    def __init__(self, rest_url: str, grpc_address: str, model_name: str) -> None:
        """Makes the clients; they start with the block.

        Args:
            rest_url: `http://host:port`.
            grpc_address: `host:port`.
            model_name: under which the model is served.
        """
        once = Retries(attempts=1)
        clients: dict[str, ModelClient] = {
            "REST": RestClient(rest_url, model_name, retries=once),
            "gRPC": GrpcClient(grpc_address, model_name, retries=once),
        }
        self.answered = dict.fromkeys(clients, 0)
        self.failures: list[str] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(name, client), daemon=True)
            for name, client in clients.items()
        ]

    def __enter__(self) -> Self:
        """Begins to ask."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends, after the answers to the last requests."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def problems(self) -> list[str]:
        """Says what an operator of the server would not accept."""
        silent = [
            f"no request over {name} was answered" for name, n in self.answered.items() if not n
        ]
        failed = (
            [f"{len(self.failures)} requests failed: {self.failures[0]}"] if self.failures else []
        )
        return silent + failed

    def _ask(self, name: str, client: ModelClient) -> None:
        while not self._over.is_set():
            try:
                client.predict({"images": _IMAGES}, "predict_images")
                self.answered[name] += 1
            except ClientError as error:
                self.failures.append(f"{name}: {error}")
            time.sleep(_SECONDS_BETWEEN_REQUESTS)
        client.close()
