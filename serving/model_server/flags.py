"""The command line: `tensorflow_model_server`'s flags, with its names, types and defaults.

Flags that this server cannot honour are known and refused by name, unless they are given the value
that means "off": nothing is silently ignored.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, NoReturn

from serving.machine import usable_cpus
from serving.model_server.errors import invalid_argument, utf8_text

# TensorFlow Serving's main() returns -1.
EXIT_FAILED = 255

MOST_THREADS = 4096
"""What is started at once: TensorFlow ends the process if it cannot start a session's threads."""

_THREADS = 4 * usable_cpus()
_MOST_INT32 = 2**31 - 1
_MOST_INT64 = 2**63 - 1
_MOST_PORT = 2**16 - 1
# What a thread can be told to wait for: 68 years.
_MOST_MICROS = _MOST_INT32 * 10**6


def _flag(
    default: Any, text: str, least: float = -_MOST_INT32 - 1, most: float = _MOST_INT32
) -> Any:
    """A flag; a number lies between `least` and `most`, which are those of int32 unless given."""
    return field(default=default, metadata={"help": text, "range": (least, most)})


@dataclass(frozen=True)
class Flags:
    """Values of the flags that are honoured."""

    port: int = _flag(8500, "TCP port of the gRPC API; 0: none", least=0, most=_MOST_PORT)
    grpc_socket_path: str = _flag("", "UNIX socket of the gRPC API, besides the port")
    rest_api_port: int = _flag(0, "TCP port of the REST API; 0: none", least=0, most=_MOST_PORT)
    rest_api_num_threads: int = _flag(_THREADS, "threads for REST requests that take long", least=1)
    rest_api_timeout_in_ms: int = _flag(30000, "timeout of REST requests")
    rest_api_max_connections: int = _flag(
        1000, "REST connections at a time (not a flag of tensorflow_model_server)", least=1
    )
    rest_api_max_body_bytes: int = _flag(
        1 << 28,
        "largest body of a REST request, and gRPC message (not a flag of tensorflow_model_server)",
        least=1,
        most=_MOST_INT64,
    )
    rest_api_max_memory_bytes: int = _flag(
        1 << 30,
        "memory for all REST requests and answers under way "
        "(not a flag of tensorflow_model_server)",
        least=1,
        most=_MOST_INT64,
    )
    rest_api_enable_cors_support: bool = _flag(False, "add CORS headers to REST answers")
    enable_batching: bool = _flag(False, "merge concurrent requests into batches")
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "let new labels name versions that are not available yet"
    )
    batching_parameters_file: str = _flag("", "text-format BatchingParameters")
    enable_per_model_batching_parameters: bool = _flag(
        False, "read batching_params.pbtxt from each version's folder instead"
    )
    model_config_file: str = _flag("", "text-format ModelServerConfig of the models to serve")
    model_config_file_poll_wait_seconds: int = _flag(
        0, "re-read the model config file this often; 0: never"
    )
    model_name: str = _flag("default", "name of the model, without a model config file")
    model_base_path: str = _flag("", "base path of the model, without a model config file")
    num_load_threads: int = _flag(0, "threads that load versions; 0: one after the other", least=0)
    num_unload_threads: int = _flag(
        0, "threads that unload versions; 0: one after the other", least=0
    )
    max_num_load_retries: int = _flag(5, "retries of a failed load", least=0)
    load_retry_interval_micros: int = _flag(
        60_000_000,
        "wait between load retries",
        least=-_MOST_MICROS,
        most=_MOST_MICROS,
    )
    file_system_poll_wait_seconds: int = _flag(
        1, "look for new versions this often; 0: once per config; negative: never"
    )
    flush_filesystem_caches: bool = _flag(
        True, "drop TensorFlow's remote file caches after loading; local files have none"
    )
    tensorflow_session_parallelism: int = _flag(
        0, "intra- and inter-op threads; 0: automatic", least=0, most=MOST_THREADS
    )
    tensorflow_session_config_file: str = _flag("", "text-format ConfigProto of the sessions")
    tensorflow_intra_op_parallelism: int = _flag(
        0, "threads within an op; 0: automatic", least=0, most=MOST_THREADS
    )
    tensorflow_inter_op_parallelism: int = _flag(
        0,
        "threads across ops; 0: each request runs in its own thread",
        most=MOST_THREADS,
    )
    ssl_config_file: str = _flag("", "text-format SSLConfig: TLS for gRPC")
    per_process_gpu_memory_fraction: float = _flag(
        0.0, "share of the GPU's memory; 0: automatic", least=0, most=1
    )
    saved_model_tags: str = _flag("serve", "comma-separated tags of the meta graph to load")
    grpc_channel_arguments: str = _flag("", "comma-separated key=value arguments for gRPC")
    grpc_max_threads: int = _flag(
        _THREADS, "gRPC calls at a time; more: RESOURCE_EXHAUSTED", least=1
    )
    enable_model_warmup: bool = _flag(True, "replay a version's warmup requests at load")
    num_request_iterations_for_warmup: int = _flag(0, "replays of each warmup request, if > 0")
    version: bool = _flag(False, "print the versions and exit")
    monitoring_config_file: str = _flag("", "text-format MonitoringConfig: Prometheus metrics")
    remove_unused_fields_from_bundle_metagraph: bool = _flag(
        True, "keep only the signatures of a loaded graph's description (always so)"
    )
    enable_signature_method_name_check: bool = _flag(
        False, "refuse signatures whose method name does not fit the request"
    )
    enable_grpc_healthcheck_service: bool = _flag(False, "serve the standard gRPC health service")
    enable_serialization_as_tensor_content: bool = _flag(
        False, "answer Predict in tensor_content instead of typed values"
    )
    request_log_max_file_bytes: int = _flag(
        1 << 26,
        "size at which a request log goes on in a new file (not a flag of tensorflow_model_server)",
        least=1,
        most=_MOST_INT64,
    )
    request_log_max_total_bytes: int = _flag(
        1 << 30,
        "size of all files of a request log, past which the oldest go "
        "(not a flag of tensorflow_model_server)",
        least=1,
        most=_MOST_INT64,
    )
    listen_address: str = _flag(
        "", "address to listen on; empty: all (not a flag of tensorflow_model_server)"
    )
    require_signature: str = _flag(
        "",
        "public key (PEM): versions that were not signed with its private key are not loaded "
        "(not a flag of tensorflow_model_server)",
    )
    enable_reload_config: bool = _flag(
        True, "answer HandleReloadConfigRequest (not a flag of tensorflow_model_server)"
    )
    reload_config_address: str = _flag(
        "",
        "HOST:PORT that HandleReloadConfigRequest is answered at, and nowhere else "
        "(not a flag of tensorflow_model_server)",
    )
    request_log_root: str = _flag(
        "",
        "folder that files of logging_config must lie in; empty: anywhere, but then only the model "
        "config file may name them (not a flag of tensorflow_model_server)",
    )
    aspired_version_policy: str = _flag(
        "availability_preserving",
        "or resource_preserving: unload the old version first "
        "(not a flag of tensorflow_model_server)",
    )


# Protobuf and Python's gRPC take these as text; the names of files may be any bytes.
_UTF8 = (
    *("model_name", "model_base_path"),
    *("listen_address", "grpc_socket_path", "grpc_channel_arguments"),
)

# name: (type, the value that asks for nothing, why anything else is refused)
REFUSED: dict[str, tuple[type, Any, str]] = {
    "use_alts_credentials": (bool, False, "ALTS works only inside Google Cloud"),
    "platform_config_file": (str, "", "there are no platforms besides `tensorflow`"),
    "prefer_tflite_model": (bool, False, "TensorFlow Lite models are not served"),
    "num_tflite_pools": (int, 2, "TensorFlow Lite models are not served"),
    "num_tflite_interpreters_per_pool": (int, 1, "TensorFlow Lite models are not served"),
    "xla_cpu_compilation_enabled": (bool, False, "XLA compilation is not offered"),
    "xla_gpu_compilation_enabled": (bool, False, "XLA compilation is not offered"),
    "enable_profiler": (bool, False, "the profiler service is not offered; it is always off"),
    "thread_pool_factory_config_file": (str, "", "there are no thread pool factories to name"),
    "mixed_precision": (str, "", "graph rewriting for mixed precision is not offered"),
    "skip_initialize_tpu": (bool, False, "TPUs are not supported"),
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        print(f"{message}\n{self.format_usage()}", end="", file=sys.stderr)
        sys.exit(EXIT_FAILED)


def parse_flags(arguments: Sequence[str]) -> Flags:
    """Parses a command line without its program name.

    Exits with TensorFlow Serving's code if it cannot be read or asks for what is refused. Raises
    ServingError (INVALID_ARGUMENT) if no server can start with its values.
    """
    parser = _parser()
    values = vars(parser.parse_args(list(arguments)))
    for name, (_, neutral, reason) in REFUSED.items():
        if values.pop(name) not in (None, neutral):
            parser.error(f"--{name} is refused: {reason}.")
    flags = Flags(**values)
    _check(flags)
    return flags


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m serving.model_server",
        description="Serves SavedModels through TensorFlow Serving's gRPC and REST APIs.",
        allow_abbrev=False,
        usage="%(prog)s --port=8500 --rest_api_port=8501 --model_name=NAME --model_base_path=DIR",
    )
    honoured = parser.add_argument_group("flags")
    for flag in fields(Flags):
        assert flag.default is not MISSING
        kind = type(flag.default)
        default = "on" if flag.default is True else "off" if flag.default is False else flag.default
        text = f"{flag.metadata['help']} ({kind.__name__}, default: {default})".replace("%", "%%")
        _add(honoured, flag.name, kind, flag.default, text)
    refused = parser.add_argument_group("refused flags of tensorflow_model_server")
    for name, (kind, _, reason) in REFUSED.items():
        _add(refused, name, kind, None, f"refused: {reason}")
    return parser


def _add(group: Any, name: str, kind: type, default: Any, text: str) -> None:
    if kind is bool:
        group.add_argument(
            f"--{name}",
            type=_boolean,
            nargs="?",
            const=True,
            default=default,
            help=text,
            metavar="BOOL",
        )
        return
    converter: Callable[[str], Any] = kind
    group.add_argument(
        f"--{name}", type=converter, default=default, help=text, metavar=kind.__name__.upper()
    )


def _boolean(text: str) -> bool:
    if text.lower() in ("true", "t", "1", "yes", "y"):
        return True
    if text.lower() in ("false", "f", "0", "no", "n"):
        return False
    raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")


def _check(flags: Flags) -> None:
    """Refusals in the words of `tensorflow_serving/model_servers/server.cc` where it has them."""
    if flags.version:
        return
    _check_values(flags)
    if not flags.port and not flags.grpc_socket_path:
        raise invalid_argument(
            "At least one of server_options.grpc_port or server_options.grpc_socket_path must be "
            "set."
        )
    if not flags.model_base_path and not flags.model_config_file:
        raise invalid_argument(
            "Both server_options.model_base_path and server_options.model_config_file are empty!"
        )
    if flags.batching_parameters_file and not flags.enable_batching:
        raise invalid_argument(
            "server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true."
        )
    parallelism = (
        flags.tensorflow_session_parallelism,
        flags.tensorflow_intra_op_parallelism,
        flags.tensorflow_inter_op_parallelism,
    )
    if all(count > 0 for count in parallelism):
        raise invalid_argument(
            "Either configure server_options.tensorflow_session_parallelism or "
            "(server_options.tensorflow_intra_op_parallelism, "
            "server_options.tensorflow_inter_op_parallelism) separately. You cannot configure all."
        )
    if flags.aspired_version_policy not in ("availability_preserving", "resource_preserving"):
        raise invalid_argument(
            f"--aspired_version_policy: {flags.aspired_version_policy!r} is neither "
            "availability_preserving nor resource_preserving"
        )
    if flags.reload_config_address and not flags.enable_reload_config:
        raise invalid_argument("--reload_config_address is set without --enable_reload_config")
    if flags.reload_config_address and not _is_host_and_port(flags.reload_config_address):
        raise invalid_argument(
            f"--reload_config_address: {flags.reload_config_address!r} is not HOST:PORT"
        )


def _check_values(flags: Flags) -> None:
    for flag in fields(Flags):
        value, (least, most) = getattr(flags, flag.name), flag.metadata["range"]
        if type(flag.default) in (int, float) and not least <= value <= most:
            raise invalid_argument(f"--{flag.name}: {value} is not between {least} and {most}")
        if flag.name in _UTF8 and utf8_text(value) != value:
            raise invalid_argument(f"--{flag.name}: {value!r} is not UTF-8")


def _is_host_and_port(address: str) -> bool:
    """gRPC would take port 443 where there is none, and another where the number is too large."""
    parts = re.fullmatch(r"(?:[^:\[\]]+|\[[^\[\]]+\]):([0-9]{1,5})", address)
    return parts is not None and 0 < int(parts[1]) <= _MOST_PORT
