"""A client for an address, over the API that is asked for."""

from __future__ import annotations

from enum import StrEnum

from serving.client.interface import ModelClient


class Api(StrEnum):
    """One of the two APIs of a model server."""

    REST = "rest"
    GRPC = "grpc"


DEFAULT_ADDRESSES = {Api.REST: "http://127.0.0.1:8501", Api.GRPC: "127.0.0.1:8500"}


def connect(
    model_name: str, api: Api = Api.REST, address: str | None = None, timeout: float = 30.0
) -> ModelClient:
    """Returns a client; nothing is sent yet.

    Args:
        model_name: under which the server serves the model.
        api: over which it is asked. The gRPC client's `predict`, not its `classify`, imports
            TensorFlow.
        address: `host:port`, with or without `http://`; None: TensorFlow Serving's port here.
        timeout: seconds, for one attempt.
    """
    where = address or DEFAULT_ADDRESSES[api]
    if api is Api.GRPC:
        from serving.client.grpc_client import GrpcClient

        return GrpcClient(where.rpartition("://")[2].rstrip("/"), model_name, timeout)
    from serving.client.rest_client import RestClient

    return RestClient(where if "://" in where else f"http://{where}", model_name, timeout)
