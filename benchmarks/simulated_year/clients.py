"""Clients that ask a live model server one request after another, and look at what they get."""

import itertools
import threading
import time
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from benchmarks.simulated_year.day_settings import OTHER_NAME
from data import idx
from pipeline.modeling.features import CLASS_LABELS
from pipeline.settings.paths import SAMPLE_DATA
from serving.client.errors import ClientError
from serving.client.grpc_client import GrpcClient
from serving.client.interface import ModelClient
from serving.client.rest_client import RestClient
from serving.client.retry import Retries

_SECONDS_BETWEEN_REQUESTS = 0.1
_NAMES = frozenset(CLASS_LABELS) | {OTHER_NAME}


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
        images = idx.read_images(SAMPLE_DATA / "base" / "t10k-images-idx3-ubyte.gz")
        self._images = images[..., np.newaxis].astype(np.float32)
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
        for image in itertools.cycle(self._images):
            if self._over.is_set():
                break
            try:
                answer = client.predict({"images": image[np.newaxis]}, "predict_images")
                _check(answer)
                self.answered[name] += 1
            except (ClientError, ValueError, KeyError) as error:
                self.failures.append(f"{time.strftime('%T')}, {name}: {error}")
            time.sleep(_SECONDS_BETWEEN_REQUESTS)
        client.close()


def _check(answer: dict[str, npt.NDArray[np.generic]]) -> None:
    """Raises ValueError when an answer is not one that the model gives for one image."""
    probabilities = np.asarray(answer["probabilities"], np.float64)
    label = answer["label"][0]
    name = label.decode() if isinstance(label, bytes) else str(label)
    if (
        probabilities.shape != (1, len(CLASS_LABELS))
        or not np.isclose(probabilities.sum(), 1.0, atol=1e-3)
        or int(answer["class_id"][0]) != int(probabilities.argmax())
        or name not in _NAMES
    ):
        raise ValueError(f"not a model's answer: {answer}")
