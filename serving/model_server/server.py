"""Puts the server together from its flags, runs it, and shuts it down.

Follows `tensorflow_serving/model_servers/server.cc`: the APIs open once the models are available.
"""

from __future__ import annotations

import gc
import logging
import resource
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
from tensorflow_serving.config import model_server_config_pb2

from serving.addresses import bare_host, join_host_port
from serving.machine import usable_cpus
from serving.model_server.batching import BatchingOptions, BatchScheduler
from serving.model_server.config import read_text_proto, single_model_config
from serving.model_server.config_protos import BatchingParameters, MonitoringConfig, SSLConfig
from serving.model_server.core import CoreOptions, ServerCore
from serving.model_server.errors import as_serving_error, in_one_line, invalid_argument
from serving.model_server.flags import MOST_THREADS, Flags
from serving.model_server.grpc_server import GrpcOptions, GrpcServer, parse_channel_arguments
from serving.model_server.grpc_services import Services
from serving.model_server.loader import LoaderOptions, SavedModelLoader
from serving.model_server.manager import ManagerOptions
from serving.model_server.metrics import Metrics
from serving.model_server.request_log import SampledRequestLog
from serving.model_server.version_policy import AspiredVersionPolicy

if TYPE_CHECKING:
    from serving.model_server.rest.api import RestServer
    from serving.versions.signature import Verifier

_logger = logging.getLogger(__name__)

_DEFAULT_METRICS_PATH = "/monitoring/prometheus/metrics"
# Longest that requests in flight may take once the server is told to stop.
_DRAIN_SECONDS = 30.0
_MOST_FILES = 65_536
# The health service follows each change of a model's state, and looks anyway this often.
_HEALTH_SECONDS = 1.0


def _keep_pauses_short() -> None:
    """Tunes the interpreter for latency; called once everything is imported and nothing is loaded.

    A full garbage collection over all that TensorFlow imports takes 0.2 s, so none looks at it.
    What versions are made of comes later, and is collected when they go.
    A thread that runs Python code (a large body, say) gives way to the others after half a
    millisecond: the status of a busy server then takes 2.6 ms instead of 9.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(0.0005)


def _open_as_many_files_as_allowed() -> None:
    """Each connection is one; where a login allows 1,024, an idle client could take them all."""
    usual, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = max(usual, min(limit, _MOST_FILES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, limit))


class Server:
    """A model server as its flags describe it. `stopping`, when set, ends `run`."""

    def __init__(self, flags: Flags, stopping: threading.Event) -> None:
        """Raises ServingError if a configuration file is unreadable or contradicts itself."""
        self._flags = flags
        self._stopping = stopping
        self._config = self._read_model_config()
        self._ssl_config = (
            read_text_proto(Path(flags.ssl_config_file), SSLConfig())
            if flags.ssl_config_file
            else None
        )
        self._channel_arguments = parse_channel_arguments(flags.grpc_channel_arguments)
        self._metrics_path = _metrics_path(flags)
        metrics = Metrics()
        tags = flags.saved_model_tags.split(",")
        self._request_log = SampledRequestLog(
            metrics, tags, flags.request_log_max_file_bytes, flags.request_log_max_total_bytes
        )
        self._scheduler, batching = _batching(flags, metrics)
        loader = SavedModelLoader(
            LoaderOptions(
                session_config=_session_config(flags),
                saved_model_tags=tags,
                enable_model_warmup=flags.enable_model_warmup,
                num_request_iterations_for_warmup=max(flags.num_request_iterations_for_warmup, 1),
                enable_signature_method_name_check=flags.enable_signature_method_name_check,
                batching=batching,
                enable_per_model_batching_parameters=flags.enable_per_model_batching_parameters,
                verifier=_verifier(flags),
            ),
            metrics,
            self._scheduler,
            self._request_log,
        )
        self._core = ServerCore(loader, _core_options(flags), metrics, self._request_log, stopping)

    def run(self) -> None:
        """Serves until `stopping` is set, then answers what is in flight and returns.

        Raises ServingError if a model does not become available or gRPC cannot listen.
        """
        started = time.monotonic()
        _keep_pauses_short()
        _open_as_many_files_as_allowed()
        self._core.start(self._config)
        if self._stopping.is_set():
            return
        grpc_servers = self._start_grpc()
        rest_server = self._start_rest()
        _logger.info("ready after %.2f s", time.monotonic() - started)
        self._poll_config_until_stopped()
        _logger.info("stopping: answering the requests in flight")
        draining = [
            threading.Thread(target=server.stop, args=(_DRAIN_SECONDS,)) for server in grpc_servers
        ]
        for thread in draining:
            thread.start()
        if rest_server:
            rest_server.stop(_DRAIN_SECONDS)
        for thread in draining:
            thread.join()
        self._core.stop()
        if self._scheduler:
            self._scheduler.stop()
        self._request_log.close()
        _logger.info("stopped")

    def _start_grpc(self) -> list[GrpcServer]:
        """The gRPC server, and one of its own for reloads if they have an address of their own."""
        flags = self._flags
        host, reload_address = flags.listen_address or "0.0.0.0", flags.reload_config_address
        services = Services(
            self._core,
            flags.enable_serialization_as_tensor_content,
            answer_reload_config=flags.enable_reload_config and not reload_address,
        )
        options = GrpcOptions(
            address=join_host_port(host, flags.port) if flags.port else "",
            socket_path=flags.grpc_socket_path,
            max_threads=flags.grpc_max_threads,
            max_message_bytes=flags.rest_api_max_body_bytes,
            channel_arguments=self._channel_arguments,
            ssl_config=self._ssl_config,
            enable_healthcheck=flags.enable_grpc_healthcheck_service,
        )
        servers = [GrpcServer(services.methods(), options)]
        if reload_address:
            options = replace(
                options, address=reload_address, socket_path="", enable_healthcheck=False
            )
            servers.append(GrpcServer(Services(self._core).reload_method(), options))
        for server in servers:
            server.start()
        if flags.enable_grpc_healthcheck_service:
            threading.Thread(
                target=self._report_health, args=(servers[0],), name="health", daemon=True
            ).start()
        tls = " (TLS)" if self._ssl_config else ""
        for where in filter(None, (flags.port, flags.grpc_socket_path, reload_address)):
            _logger.info("gRPC API at %s%s", where, tls)
        return servers

    def _report_health(self, server: GrpcServer) -> None:
        """Lets the health service follow the models until the server stops."""
        while not self._stopping.is_set():
            try:
                server.set_serving(self._core.is_serving())
                self._core.wait_for_change(_HEALTH_SECONDS)
            except BaseException:
                _logger.exception("the health service was not told the state of the models")
                self._stopping.wait(_HEALTH_SECONDS)

    def _start_rest(self) -> RestServer | None:
        """A REST port that cannot be had is reported, and gRPC served all the same."""
        flags = self._flags
        if not flags.rest_api_port:
            return None
        if flags.rest_api_port == flags.port:
            _logger.error("no REST API: port %d is the gRPC port", flags.port)
            return None
        from serving.model_server.rest.api import RestOptions, RestServer

        server = RestServer(
            self._core,
            RestOptions(
                port=flags.rest_api_port,
                host=bare_host(flags.listen_address),
                num_threads=flags.rest_api_num_threads,
                timeout_ms=flags.rest_api_timeout_in_ms,
                cors=flags.rest_api_enable_cors_support,
                monitoring_path=self._metrics_path,
                max_connections=flags.rest_api_max_connections,
                max_body_bytes=flags.rest_api_max_body_bytes,
                max_memory_bytes=flags.rest_api_max_memory_bytes,
            ),
        )
        try:
            server.start()
        except OSError as error:
            _logger.error("no REST API at port %d: %s", flags.rest_api_port, error)
            return None
        _logger.info("REST API at %d", flags.rest_api_port)
        return server

    def _read_model_config(self) -> Any:
        flags = self._flags
        if not flags.model_config_file:
            return single_model_config(flags.model_name, flags.model_base_path)
        return read_text_proto(
            Path(flags.model_config_file), model_server_config_pb2.ModelServerConfig()
        )

    def _poll_config_until_stopped(self) -> None:
        seconds = self._flags.model_config_file_poll_wait_seconds
        if seconds <= 0 or not self._flags.model_config_file:
            self._stopping.wait()
            return
        complaint = ""
        while not self._stopping.wait(seconds):
            try:
                self._core.reload_config(self._read_model_config(), is_from_file=True)
                complaint = ""
            except Exception as error:
                text = in_one_line(as_serving_error(error))
                if text != complaint:
                    _logger.error("model config file not taken over: %s", text)
                complaint = text


def _core_options(flags: Flags) -> CoreOptions:
    return CoreOptions(
        manager=ManagerOptions(
            policy=AspiredVersionPolicy(flags.aspired_version_policy),
            num_load_threads=flags.num_load_threads,
            num_unload_threads=flags.num_unload_threads,
            max_num_load_retries=flags.max_num_load_retries,
            load_retry_interval_micros=flags.load_retry_interval_micros,
        ),
        file_system_poll_wait_seconds=flags.file_system_poll_wait_seconds,
        allow_version_labels_for_unavailable_models=(
            flags.allow_version_labels_for_unavailable_models
        ),
        request_log_root=Path(flags.request_log_root) if flags.request_log_root else None,
    )


def _batching(
    flags: Flags, metrics: Metrics
) -> tuple[BatchScheduler | None, BatchingOptions | None]:
    if not flags.enable_batching:
        return None, None
    parameters = BatchingParameters()
    if flags.batching_parameters_file:
        read_text_proto(Path(flags.batching_parameters_file), parameters)
    options = BatchingOptions.from_proto(parameters)
    num_threads = parameters.num_batch_threads.value
    if not 0 <= num_threads <= MOST_THREADS:
        raise invalid_argument(
            f"num_batch_threads must lie between 0 and {MOST_THREADS}; was {num_threads}"
        )
    return BatchScheduler(num_threads, parameters.thread_pool_name.value, metrics), options


def _verifier(flags: Flags) -> Verifier | None:
    if not flags.require_signature:
        return None
    from serving.versions.signature import KeyFileError, Verifier

    try:
        return Verifier(Path(flags.require_signature))
    except KeyFileError as error:
        raise invalid_argument(f"--require_signature: {error}") from None


def _metrics_path(flags: Flags) -> str | None:
    if not flags.monitoring_config_file:
        return None
    config = read_text_proto(Path(flags.monitoring_config_file), MonitoringConfig())
    prometheus = config.prometheus_config
    return (prometheus.path or _DEFAULT_METRICS_PATH) if prometheus.enable else None


def _session_config(flags: Flags) -> Any:
    config = config_pb2.ConfigProto()
    if flags.tensorflow_session_config_file:
        read_text_proto(Path(flags.tensorflow_session_config_file), config)
    if flags.per_process_gpu_memory_fraction:
        config.gpu_options.per_process_gpu_memory_fraction = flags.per_process_gpu_memory_fraction
    parallelism = flags.tensorflow_session_parallelism
    intra = flags.tensorflow_intra_op_parallelism or parallelism
    inter = flags.tensorflow_inter_op_parallelism or parallelism
    if intra:
        config.intra_op_parallelism_threads = intra
    if inter:
        config.inter_op_parallelism_threads = inter
    if not 0 <= config.intra_op_parallelism_threads <= MOST_THREADS:
        raise invalid_argument(f"intra_op_parallelism_threads is not between 0 and {MOST_THREADS}")
    if config.inter_op_parallelism_threads > MOST_THREADS:
        raise invalid_argument(f"inter_op_parallelism_threads is more than {MOST_THREADS}")
    # TensorFlow counts the CPUs it may run on, but not what a container's quota leaves of them.
    if not config.intra_op_parallelism_threads:
        config.intra_op_parallelism_threads = usable_cpus()
    # TensorFlow rewrites a graph twice before a signature's first answer. The second time changes
    # next to nothing, and takes a third of the seconds.
    rewriting = config.graph_options.rewrite_options
    if not rewriting.meta_optimizer_iterations:
        rewriting.meta_optimizer_iterations = rewriter_config_pb2.RewriterConfig.ONE
    return config
