"""A client for an address, over the API that is asked for."""

from __future__ import annotations

from enum import StrEnum

from serving.client.interface import ModelClient
from serving.client.tls import TlsOptions


class Api(StrEnum):
    """One of the two APIs of a model server."""

    REST = "rest"
    GRPC = "grpc"


DEFAULT_ADDRESSES = {Api.REST: "http://127.0.0.1:8501", Api.GRPC: "127.0.0.1:8500"}


def connect(
    model_name: str,
    api: Api = Api.REST,
    address: str | None = None,
    timeout: float = 30.0,
    tls: TlsOptions | None = None,
) -> ModelClient:
    """Returns a client; nothing is sent yet.

    Args:
        model_name: under which the server serves the model.
        api: over which it is asked.
        address: `host:port`, with or without `http://` or, for TLS, `https://`; an IPv6 address in
            brackets; None: TensorFlow Serving's port here.
        timeout: seconds, for one attempt.
        tls: for `https://`.

    Raises:
        InvalidRequestError: the address or the TLS options cannot be used.
    """
    where = address or DEFAULT_ADDRESSES[api]
    if api is Api.GRPC:
        from serving.client.grpc_client import GrpcClient

        return GrpcClient(where, model_name, timeout, tls=tls)
    from serving.client.rest_client import RestClient

    return RestClient(where, model_name, timeout, tls=tls)
