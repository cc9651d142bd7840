"""Model servers that are programs: TensorFlow Serving's binary, and the embedded one."""

import os
import shutil
import signal
import subprocess
import sys
import time
from abc import abstractmethod
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import psutil

from serving.addresses import bare_host, join_host_port, reachable_host
from serving.launch.base import (
    FOR_VALIDATION,
    LOOPBACK,
    Launch,
    ModelServer,
    ServerMissingError,
    free_ports,
    is_free,
)
from serving.launch.child import dying_with_this_process
from serving.launch.ownership import (
    OWNER_VARIABLE,
    owner_mark,
    remove_orphaned_processes,
)
from serving.machine import usable_cpus

BINARY = "tensorflow_model_server"
_EMBEDDED_MODULE = "serving.model_server"
_STOP_SECONDS = 5.0
_STOP_POLL_SECONDS = 0.01


class ProcessServer(ModelServer):
    """A server that is a child process and dies with this one, however this one ends."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._ports: list[int] = []
        self._host = LOOPBACK
        self._log: Path | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Returns the program and its first arguments."""

    def environment(self) -> dict[str, str]:
        """Returns the process's environment."""
        return {**os.environ, OWNER_VARIABLE: owner_mark()}

    def own_flags(self, host: str) -> list[str]:
        """Returns flags that other servers do not need, for one that listens on a host."""
        return []

    def start(self, base: Path, model_name: str, launch: Launch = FOR_VALIDATION) -> None:
        remove_orphaned_processes()
        free = free_ports(2, launch.host)
        grpc_port, rest_port = launch.grpc_port or free[0], launch.rest_port or free[1]
        self._ports, self._host = [grpc_port, rest_port], launch.host
        host = reachable_host(launch.host)
        self.grpc_address = join_host_port(host, grpc_port)
        self.rest_url = f"http://{join_host_port(host, rest_port)}"
        self._log = launch.log or base.parent / "server.log"
        flags = [
            f"--port={grpc_port}",
            f"--rest_api_port={rest_port}",
            f"--model_name={model_name}",
            f"--model_base_path={base}",
            *([f"--model_config_file={base / launch.config_name}"] if launch.config_name else []),
            *self.own_flags(launch.host),
            *launch.flags,
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                dying_with_this_process([*self.command(), *flags]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment(),
                cwd=base.parent,
                # Ctrl-C in the terminal is for the pipeline, which then stops the server itself.
                start_new_session=True,
            )

    def stop(self) -> None:
        if self._process is None:
            return
        # A program on PATH may be a script that starts the server, and may end before it.
        self._signal_group(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while self._group_exists() and time.monotonic() < deadline:
            time.sleep(_STOP_POLL_SECONDS)
        self._signal_group(signal.SIGKILL)
        self._process.wait()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log_tail(self, lines: int = 20) -> list[str]:
        if self._log is None or not self._log.exists():
            return []
        return self._log.read_text(errors="replace").splitlines()[-lines:]

    def memory_megabytes(self) -> float:
        if self._process is None:
            return 0.0
        try:
            process = psutil.Process(self._process.pid)
            family = [process, *process.children(recursive=True)]
            return sum(member.memory_info().rss for member in family) / 1e6
        except psutil.NoSuchProcess:
            return 0.0

    def lost_its_port(self) -> bool:
        return not all(is_free(port, self._host) for port in self._ports)

    def _group_exists(self) -> bool:
        # A child that has ended counts until it is waited for.
        self.is_running()
        return self._signal_group(0)

    def _signal_group(self, number: int) -> bool:
        """Signals the process and all that it started; returns whether there are any left."""
        assert self._process is not None
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True


class BinaryServer(ProcessServer):
    """TensorFlow Serving's own program, `tensorflow_model_server`, on PATH."""

    def __init__(self) -> None:
        super().__init__()
        path = shutil.which(BINARY)
        if path is None:
            raise ServerMissingError(f"{BINARY} is not on PATH")
        self._path = path
        self.description = f"binary {path}"

    def command(self) -> list[str]:
        return [self._path]

    def own_flags(self, host: str) -> list[str]:
        """Sizes its pools by a container's processor time, which it does not look at itself."""
        cpus = usable_cpus()
        if cpus == len(os.sched_getaffinity(0)):
            return []
        return [
            f"--tensorflow_session_parallelism={cpus}",
            f"--rest_api_num_threads={4 * cpus}",
            f"--grpc_max_threads={4 * cpus}",
        ]


class EmbeddedServer(ProcessServer):
    """This project's own server, `python -m serving.model_server`."""

    def __init__(self) -> None:
        super().__init__()
        self.description = f"embedded on TensorFlow {metadata.version('tensorflow')}"

    def command(self) -> list[str]:
        return [sys.executable, "-m", _EMBEDDED_MODULE]

    def own_flags(self, host: str) -> list[str]:
        return [f"--listen_address={bare_host(host)}"]

    def environment(self) -> dict[str, str]:
        """Adds the folder that holds the package, since the process runs elsewhere."""
        spec = find_spec(_EMBEDDED_MODULE)
        if spec is None or spec.origin is None:
            raise ServerMissingError(f"{_EMBEDDED_MODULE} cannot be imported")
        root = str(Path(spec.origin).parents[_EMBEDDED_MODULE.count(".") + 1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        return {**super().environment(), "PYTHONPATH": os.pathsep.join(paths)}
