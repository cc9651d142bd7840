"""The standard gRPC health service, also beside clients that do not read what they are sent.

`grpc_health` sends a status in the thread that sets it, and holds its lock meanwhile: one client
that watched with a full window kept every `Check` waiting, and with it the probes that decide
whether a server is ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

_SENDERS = 8
# A client that has not taken a status by then watches no more.
_SECONDS_TO_TAKE_A_STATUS = 30.0
# The name that all services share which there are none of: clients can invent any number.
_NO_SERVICE = "(unknown)"


class HealthService(health.HealthServicer):
    """Neither who sets a status nor who checks it waits for those that watch."""

    def __init__(self) -> None:
        super().__init__()
        self._senders = ThreadPoolExecutor(_SENDERS, "health")

    def Watch(
        self, request: Any, context: Any, send_response_callback: Callable[[Any], None]
    ) -> None:
        service = request.service if request.service in self._server_status else _NO_SERVICE
        in_turn = threading.Lock()

        def send_status() -> None:
            with in_turn:
                ending = threading.Timer(_SECONDS_TO_TAKE_A_STATUS, context.cancel)
                ending.daemon = True
                ending.start()
                # What holds by now: one thread may have overtaken another.
                status = self._server_status.get(service, HealthCheckResponse.SERVICE_UNKNOWN)
                send_response_callback(HealthCheckResponse(status=status))
                ending.cancel()

        def send(response: Any) -> None:
            if response is None:
                send_response_callback(None)
            else:
                self._senders.submit(send_status)

        super().Watch(HealthCheckRequest(service=service), context, send)

    def end(self) -> None:
        """Tells all who watch that nothing is served any more, and ends their streams."""
        self.enter_graceful_shutdown()
        for watching in list(self._send_response_callbacks.values()):
            for send in list(watching):
                send(None)
