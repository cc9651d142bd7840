"""The gRPC transport: ports, TLS, limits, deadlines, and errors as status codes."""

from __future__ import annotations

import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import message

from serving.model_server import deadline
from serving.model_server.errors import (
    Code,
    ServingError,
    as_serving_error,
    invalid_argument,
    utf8_text,
)
from serving.model_server.grpc_pool import MessageFirstPool
from serving.model_server.grpc_services import MODEL_SERVICE, PREDICTION_SERVICE, Method

_logger = logging.getLogger(__name__)

_STATUS_CODES = {Code(status.value[0]): status for status in grpc.StatusCode}

# How long a call waits for one of the max_threads places. Short calls of many clients then just
# queue up; only when long ones hold all places is a call refused, as TensorFlow Serving does.
_PLACE_WAIT_SECONDS = 0.05
# Calls that may wait so; those past them are refused at once.
_MAX_WAITING_CALLS = 1000
# Calls that may be open, those without a message included.
_MAX_OPEN_CALLS = 20_000
# A reflection stream is ended after this, and frees its thread; real ones take milliseconds.
_REFLECTION_SECONDS = 30.0

# Who does not take a connection on a socket by then is not there.
_PROBE_SECONDS = 1.0

# What is left of a call without a deadline is infinite; some clients send centuries instead. Such a
# call ends after this: one that ran for ever would keep its place and its version, also when its
# client has long gone.
_NO_DEADLINE_SECONDS = 1e6
_LONGEST_CALL_SECONDS = 600.0

# What gRPC takes for an integer, and what is looked at before int(), which refuses thousands.
_INT32 = range(-(2**31), 2**31)
_MOST_DIGITS = 20

_CHANNEL_ARGUMENTS: dict[str, Any] = {
    "grpc.max_send_message_length": -1,
    # Two servers on one port would share its calls; the second one must fail instead.
    "grpc.so_reuseport": 0,
}


@dataclass(frozen=True)
class GrpcOptions:
    """Where and how to listen: at the `address` host:port and the `socket_path`, where not empty.

    A message of a client has `max_message_bytes` at most, unpacked. `channel_arguments` go to gRPC
    and override the server's own. `ssl_config` is an SSLConfig message, None for plain text.
    """

    address: str = ""
    socket_path: str = ""
    max_threads: int = 8
    max_message_bytes: int = 1 << 28
    channel_arguments: Sequence[tuple[str, Any]] = field(default_factory=tuple)
    ssl_config: Any | None = None
    enable_healthcheck: bool = False


class GrpcServer:
    """Serves unary methods. `start()` listens, `stop()` lets calls in flight finish."""

    def __init__(self, methods: Mapping[str, Method], options: GrpcOptions) -> None:
        """Raises ServingError (INVALID_ARGUMENT) if it cannot listen where it is told to."""
        self._options = options
        self._health: Any = None
        self._is_serving: bool | None = None
        longest = min(options.max_message_bytes, _INT32[-1])
        arguments = {**_CHANNEL_ARGUMENTS, "grpc.max_receive_message_length": longest}
        self._server = grpc.server(
            MessageFirstPool(2 * options.max_threads, options.max_threads + _MAX_WAITING_CALLS),
            maximum_concurrent_rpcs=_MAX_OPEN_CALLS,
            options=list((arguments | dict(options.channel_arguments)).items()),
        )
        places = threading.BoundedSemaphore(options.max_threads)
        if options.enable_healthcheck:
            self._add_health_service()
        self._add_reflection()
        self._server.add_generic_rpc_handlers((_Handlers(methods, places),))
        credentials = _credentials(options.ssl_config) if options.ssl_config else None
        if options.address:
            self._listen(options.address, credentials)
        if options.socket_path:
            _check_nobody_listens(options.socket_path)
            self._listen(f"unix:{options.socket_path}", credentials)

    def start(self) -> None:
        self._server.start()

    def set_serving(self, is_serving: bool) -> None:
        """What the health service says of all services from now on, if there is one."""
        if self._health is None or is_serving is self._is_serving:
            return
        from grpc_health.v1.health_pb2 import HealthCheckResponse

        status = HealthCheckResponse.SERVING if is_serving else HealthCheckResponse.NOT_SERVING
        for service in ("", "ModelService", "PredictionService"):
            self._health.set(service, status)
        self._is_serving = is_serving

    def stop(self, grace_seconds: float) -> None:
        """Refuses new calls at once, returns when those in flight are answered or cancelled."""
        stopped = self._server.stop(grace_seconds)
        if self._health:
            self._health.end()
        stopped.wait()

    def _listen(self, address: str, credentials: Any | None) -> None:
        try:
            if credentials:
                self._server.add_secure_port(address, credentials)
            else:
                self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Failed to BuildAndStart gRPC server: {error}"
            ) from error

    def _add_health_service(self) -> None:
        from grpc_health.v1 import health_pb2_grpc

        from serving.model_server.health_service import HealthService

        self._health = HealthService()
        self.set_serving(True)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def _add_reflection(self) -> None:
        from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

        class BriefReflection(reflection.ReflectionServicer):
            def ServerReflectionInfo(self, request_iterator: Any, context: Any) -> Iterator[Any]:
                ending = threading.Timer(_REFLECTION_SECONDS, context.cancel)
                ending.daemon = True
                ending.start()
                try:
                    yield from super().ServerReflectionInfo(request_iterator, context)
                finally:
                    ending.cancel()

        services = [PREDICTION_SERVICE, MODEL_SERVICE, reflection.SERVICE_NAME]
        if self._health:
            services.append("grpc.health.v1.Health")
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            BriefReflection(services), self._server
        )


class _Handlers(grpc.GenericRpcHandler):
    """Finds the handler of a method; unknown ones get the bare UNIMPLEMENTED of gRPC's C++."""

    def __init__(self, methods: Mapping[str, Method], places: threading.BoundedSemaphore) -> None:
        self._handlers = {
            path: grpc.unary_unary_rpc_method_handler(
                _behaviour(path, method, places), response_serializer=_serialize
            )
            for path, method in methods.items()
        }
        self._unknown = grpc.unary_unary_rpc_method_handler(_unimplemented)

    def service(self, handler_call_details: Any) -> Any:
        return self._handlers.get(handler_call_details.method, self._unknown)


def _behaviour(
    path: str, method: Method, places: threading.BoundedSemaphore
) -> Callable[[bytes, Any], Any]:
    def behave(serialized: bytes, context: Any) -> Any:
        if not places.acquire(timeout=_PLACE_WAIT_SECONDS):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many concurrent requests.")
        try:
            return _answer(path, method, serialized, context)
        finally:
            places.release()

    return behave


def _answer(path: str, method: Method, serialized: bytes, context: Any) -> Any:
    remaining = context.time_remaining()
    if remaining <= 0:
        context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
    try:
        request = method.parse(serialized)
    except message.DecodeError:
        # The status of gRPC's C++ for bytes that are not such a message.
        context.abort(grpc.StatusCode.INTERNAL, "")
    seconds = remaining if remaining < _NO_DEADLINE_SECONDS else _LONGEST_CALL_SECONDS
    try:
        with deadline.at(time.monotonic() + seconds):
            return method.answer(request)
    except ServingError as error:
        failure = error
    except BaseException as error:
        _logger.exception("%s failed", path)
        failure = as_serving_error(error)
    return context.abort(_STATUS_CODES[failure.code], utf8_text(failure.message))


def _serialize(response: Any) -> bytes:
    return response.SerializeToString()


def _unimplemented(serialized: bytes, context: Any) -> None:
    context.abort(grpc.StatusCode.UNIMPLEMENTED, "")


def _check_nobody_listens(path: str) -> None:
    """gRPC takes the socket of a server that runs, and leaves none to it at its own end."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(path)
        except OSError:
            return
    raise invalid_argument(f"Failed to BuildAndStart gRPC server: a server listens at {path}")


def _credentials(ssl_config: Any) -> Any:
    """TLS from an SSLConfig: PEM texts, and whether clients must show a certificate."""
    try:
        return grpc.ssl_server_credentials(
            [(ssl_config.server_key.encode(), ssl_config.server_cert.encode())],
            root_certificates=ssl_config.custom_ca.encode() or None,
            require_client_auth=ssl_config.client_verify,
        )
    except ValueError as error:
        raise ServingError(Code.INVALID_ARGUMENT, f"ssl_config_file: {error}") from error


def parse_channel_arguments(text: str) -> list[tuple[str, Any]]:
    """`--grpc_channel_arguments`: comma-separated key=value, integers where they look like it."""
    arguments: list[tuple[str, Any]] = []
    for item in filter(None, text.split(",")):
        key, separator, value = item.partition("=")
        if not separator:
            raise invalid_argument(f"--grpc_channel_arguments: {item!r} is not key=value")
        is_integer = re.fullmatch(r"-?[0-9]+", value)
        if is_integer and (len(value) > _MOST_DIGITS or int(value) not in _INT32):
            raise invalid_argument(f"--grpc_channel_arguments: {item!r} is not an int32")
        arguments.append((key, int(value) if is_integer else value))
    return arguments
