"""The embedded model server as operators start it, and a browser to look at pages with."""

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

REPOSITORY = Path(__file__).parents[2]
CONFORMANCE = REPOSITORY / "tests" / "serving" / "conformance"


@dataclass(frozen=True)
class ModelServerProcess:
    """A running server: its two ports (on 127.0.0.1), its process and the file it logs to."""

    port: int
    rest_port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.rest_port}"

    def stop(self, number: int = signal.SIGTERM, timeout: float = 60) -> int:
        """Sends a signal and returns the exit code as subprocess gives it."""
        self.process.send_signal(number)
        return self.process.wait(timeout)


StartModelServer = Callable[..., ModelServerProcess]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def few_files(count: int) -> Iterator[None]:
    """Programs that are started in the block may open so few files, unless they ask for more."""
    usual, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (usual, most))


@contextmanager
def model_server_process(
    folder: Path, *flags: str, wait: bool = True
) -> Iterator[ModelServerProcess]:
    """Runs `python -m serving.model_server`; waits for its REST port unless told not to."""
    folder.mkdir(parents=True, exist_ok=True)
    port, rest_port = free_port(), free_port()
    log = folder / "server.log"
    command = [sys.executable, "-m", "serving.model_server"]
    command += [f"--port={port}", f"--rest_api_port={rest_port}", *flags]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    server = ModelServerProcess(port, rest_port, process, log)
    try:
        if wait:
            wait_until_listening(server)
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_until_listening(server: ModelServerProcess, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", server.rest_port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"the model server does not listen; its log:\n{server.log.read_text()}")


@pytest.fixture
def start_model_server(tmp_path: Path) -> Iterator[StartModelServer]:
    """Starts servers with given flags; all are stopped at the end of the test."""
    with ExitStack() as stack:

        def start(*flags: str, wait: bool = True) -> ModelServerProcess:
            folder = tmp_path / f"server-{free_port()}"
            return stack.enter_context(model_server_process(folder, *flags, wait=wait))

        yield start


@pytest.fixture(scope="session")
def conformance_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServerProcess]:
    """A server with the recorded models and flags (tests/serving/conformance)."""
    folder = tmp_path_factory.mktemp("conformance")
    config = folder / "models.config"
    models = CONFORMANCE / "models"
    config.write_text(
        f"""
        model_config_list {{
          config {{ name: "half_plus" base_path: "{models}/half_plus" model_platform: "tensorflow"
                   model_version_policy {{ all {{}} }}
                   version_labels {{ key: "stable" value: 1 }}
                   version_labels {{ key: "canary" value: 2 }} }}
          config {{ name: "shapes" base_path: "{models}/shapes" model_platform: "tensorflow" }}
          config {{ name: "fashion" base_path: "{models}/fashion" model_platform: "tensorflow" }}
        }}
        """
    )
    monitoring = folder / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }")
    with model_server_process(
        folder,
        f"--model_config_file={config}",
        f"--monitoring_config_file={monitoring}",
        "--allow_version_labels_for_unavailable_models=true",
    ) as server:
        # A start waits for one version of each model; of half_plus two are served.
        while (
            requests.get(f"{server.url}/v1/models/half_plus", timeout=60).text.count("AVAILABLE")
            < 2
        ):
            time.sleep(0.05)
        yield server


@pytest.fixture
def record_result() -> Callable[[str, dict[str, object]], None]:
    """Writes what a soak test found to benchmarks/results, with date and revision."""

    def record(name: str, result: dict[str, object]) -> None:
        revision = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        date = datetime.now(UTC).isoformat(timespec="seconds")
        folder = REPOSITORY / "benchmarks" / "results"
        folder.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"date": date, "revision": revision} | result, indent=2)
        (folder / f"{name}.json").write_text(content + "\n")

    return record


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium, without a window; skips where there is none.

    Not for the whole session: playwright keeps an event loop running in this thread, beside which
    no test can start one of its own.
    """
    names = ("chromium", "chromium-browser", "google-chrome")
    executable = next(filter(None, map(shutil.which, names)), None)
    if executable is None:
        pytest.skip("there is no Chromium on PATH; Debian has it as the package chromium")
    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in a context of its own."""
    context = browser.new_context()
    context.set_default_timeout(60_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def page_problems(page: Page) -> list[str]:
    """Grows with every error on the console, exception and failed request of `page`."""
    problems: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(f"console: {message.text}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: problems.append(f"exception: {error}"))
    page.on("requestfailed", lambda request: problems.append(f"request failed: {request.url}"))
    return problems
