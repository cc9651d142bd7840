"""The client against a server on loopback that answers as Kubeflow Pipelines' REST API does."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from orchestration.kubeflow.client import KubeflowClient, KubeflowError
from orchestration.kubeflow.package import write_package
from pipeline.settings.errors import UsageError
from pipeline.settings.kubeflow import KubeflowSettings

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
PREFIX = "/apis/v2beta1"
NAME = "fashion-mnist"


class KubeflowApi(ThreadingHTTPServer):
    """Keeps what it is told; `requests` are the methods and paths of all calls that change it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kept: dict[str, list[dict[str, Any]]] = {
            kind: [] for kind in ("experiments", "pipelines", "versions", "runs", "recurringRuns")
        }
        self.requests: list[str] = []
        self.tokens: set[str | None] = set()

    @property
    def host(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def keep(self, kind: str, id_name: str, entry: dict[str, Any]) -> dict[str, Any]:
        self.kept[kind].append(entry | {id_name: f"{kind}-{len(self.kept[kind]) + 1}"})
        return self.kept[kind][-1]


class _Handler(BaseHTTPRequestHandler):
    server: KubeflowApi

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        path = parts.path.removeprefix(PREFIX)
        self.server.tokens.add(self.headers["Authorization"])
        if path == "/healthz":
            self._answer({"multi_user": False})
        elif path in ("/experiments", "/pipelines"):
            self._answer({path[1:]: self._filtered(path[1:], query)})
        elif match := re.fullmatch(r"/pipelines/([^/]+)/versions", path):
            versions = [v for v in self.server.kept["versions"] if v["pipeline_id"] == match[1]]
            self._answer({"pipeline_versions": versions})
        elif path == "/recurringruns":
            # One on a page, so that the client has to turn pages.
            place = int(query.get("page_token", ["0"])[0] or 0)
            entries = self.server.kept["recurringRuns"]
            more = {"next_page_token": str(place + 1)} if place + 1 < len(entries) else {}
            self._answer({"recurringRuns": entries[place : place + 1]} | more)
        else:
            self._answer({"message": "no such page"}, 404)

    def do_POST(self) -> None:
        parts = urlsplit(self.path)
        path, query = parts.path.removeprefix(PREFIX), parse_qs(parts.query)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests.append(f"POST {path}")
        if path == "/pipelines/upload":
            name = query["name"][0]
            pipeline = self.server.keep("pipelines", "pipeline_id", {"display_name": name})
            self._keep_version(pipeline["pipeline_id"], name, body)
            self._answer(pipeline)
        elif path == "/pipelines/upload_version":
            self._answer(self._keep_version(query["pipelineid"][0], query["name"][0], body))
        elif path == "/experiments":
            self._answer(self.server.keep("experiments", "experiment_id", json.loads(body)))
        elif path == "/runs":
            self._answer(self.server.keep("runs", "run_id", json.loads(body)))
        elif path == "/recurringruns":
            entry = json.loads(body) | {"status": "ENABLED"}
            self._answer(self.server.keep("recurringRuns", "recurring_run_id", entry))
        elif match := re.fullmatch(r"/recurringruns/([^:]+):(enable|disable)", path):
            (entry,) = (
                e for e in self.server.kept["recurringRuns"] if e["recurring_run_id"] == match[1]
            )
            entry |= {"status": f"{match[2]}d".upper(), "mode": match[2].upper()}
            self._answer({})
        else:
            self._answer({"message": "no such page"}, 404)

    def do_DELETE(self) -> None:
        path = urlsplit(self.path).path.removeprefix(PREFIX)
        self.server.requests.append(f"DELETE {path}")
        entries = self.server.kept["recurringRuns"]
        left = [e for e in entries if e["recurring_run_id"] != path.rpartition("/")[2]]
        self.server.kept["recurringRuns"] = left
        self._answer(
            {} if len(left) < len(entries) else {"message": "not found"},
            200 if len(left) < len(entries) else 404,
        )

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""

    def _filtered(self, kind: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        (predicate,) = json.loads(query["filter"][0])["predicates"]
        wanted = predicate.get("stringValue") or predicate["string_value"]
        return [entry for entry in self.server.kept[kind] if entry["display_name"] == wanted]

    def _keep_version(self, pipeline: str, name: str, upload: bytes) -> dict[str, Any]:
        assert b"pipelineInfo" in upload
        entry = {"pipeline_id": pipeline, "display_name": name}
        return self.server.keep("versions", "pipeline_version_id", entry)

    def _answer(self, message: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(message).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def api() -> Iterator[KubeflowApi]:
    with KubeflowApi() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def client(api: KubeflowApi) -> KubeflowClient:
    return KubeflowClient(KubeflowSettings(host=api.host, pipeline_root="minio://bucket/here"))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    path = tmp_path / "fashion-mnist.yaml"
    path.write_text("pipelineInfo: {name: fashion-mnist}\nschemaVersion: 2.1.0\n")
    return path


def test_submitting_uploads_a_version_creates_the_experiment_and_runs_once(
    api: KubeflowApi, client: KubeflowClient, package: Path
) -> None:
    submitted = client.submit(package)
    assert api.requests == ["POST /experiments", "POST /pipelines/upload", "POST /runs"]
    (run,) = api.kept["runs"]
    assert run["run_id"] == submitted.run_id
    assert run["experiment_id"] == submitted.experiment_id == "experiments-1"
    assert run["pipeline_version_reference"] == {
        "pipeline_id": submitted.pipeline_id,
        "pipeline_version_id": submitted.version_id,
    }
    assert run["runtime_config"]["pipeline_root"] == "minio://bucket/here"


def test_a_changed_pipeline_is_a_new_version_and_an_unchanged_one_is_not(
    api: KubeflowApi, client: KubeflowClient, package: Path
) -> None:
    first = client.submit(package)
    package.write_text(package.read_text() + "# changed\n")
    changed = client.submit(package)
    again = client.submit(package)
    assert changed.pipeline_id == first.pipeline_id
    assert changed.version_id != first.version_id
    assert again.version_id == changed.version_id
    assert len(api.kept["pipelines"]) == len(api.kept["experiments"]) == 1
    assert len(api.kept["runs"]) == 3


def test_every_pipeline_has_an_experiment_of_its_own_unless_one_is_set(
    api: KubeflowApi, client: KubeflowClient, package: Path
) -> None:
    other = package.with_name("other.yaml")
    other.write_text("pipelineInfo: {name: other}\n")
    shared = KubeflowClient(KubeflowSettings(host=api.host, experiment="shared"))
    for each in (client, shared):
        for path in (package, other):
            each.submit(path)
    experiments = [entry["display_name"] for entry in api.kept["experiments"]]
    assert sorted(set(experiments)) == ["fashion-mnist", "other", "shared"]
    assert [entry["display_name"] for entry in api.kept["pipelines"]] == ["fashion-mnist", "other"]


def test_a_package_whose_settings_were_edited_is_not_submitted(
    api: KubeflowApi, client: KubeflowClient, tmp_path: Path
) -> None:
    settings, package = tmp_path / "production.toml", tmp_path / "build" / "fashion-mnist.yaml"
    settings.write_text("training.epochs = 3")
    write_package(package, [{"pipelineInfo": {"name": NAME}}], settings)
    client.submit(package)
    settings.write_text("training.epochs = 4")
    before = list(api.requests)
    for act in (client.submit, partial(client.create_recurring_run, cron="0 3 * * *")):
        with pytest.raises(UsageError, match=r"changed: training.epochs .*compile kubeflow"):
            act(package)
    assert api.requests == before
    # As on another machine.
    settings.unlink()
    client.submit(package)


def test_a_recurring_run_is_created_listed_disabled_enabled_and_deleted(
    api: KubeflowApi, client: KubeflowClient, package: Path
) -> None:
    created = client.create_recurring_run(package, "0 3 * * 1-5")
    (body,) = api.kept["recurringRuns"]
    assert body["trigger"]["cron_schedule"]["cron"] == "0 0 3 * * mon,tue,wed,thu,fri"
    assert body["max_concurrency"] == 1
    assert body["no_catchup"] is True
    assert client.recurring_runs(NAME) == [created]
    client.disable_recurring_run(created.recurring_run_id)
    assert not client.recurring_runs(NAME)[0].enabled
    client.enable_recurring_run(created.recurring_run_id)
    assert client.recurring_runs(NAME)[0].enabled
    client.delete_recurring_run(created.recurring_run_id)
    assert client.recurring_runs(NAME) == []


def test_a_second_recurring_run_of_the_same_pipeline_is_refused(
    client: KubeflowClient, package: Path
) -> None:
    client.create_recurring_run(package, "0 3 * * *")
    with pytest.raises(KubeflowError, match="delete it first"):
        client.create_recurring_run(package, "0 4 * * *")


def test_all_pages_of_recurring_runs_are_read(
    api: KubeflowApi, client: KubeflowClient, package: Path
) -> None:
    for name in ("first", "second"):
        package.write_text(f"pipelineInfo: {{name: {name}}}\n")
        client.create_recurring_run(package, "0 3 * * *")
    assert [entry.name for entry in client.recurring_runs(NAME)] == ["first", "second"]


def test_a_wrong_cron_expression_is_refused_before_anything_is_uploaded(
    api: KubeflowApi, client: KubeflowClient, package: Path
) -> None:
    with pytest.raises(UsageError, match="'8' is not a weekday"):
        client.create_recurring_run(package, "0 3 * * 8")
    assert api.requests == []


def test_the_token_of_the_environment_is_sent(
    api: KubeflowApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEFLOW_TOKEN", "secret")
    KubeflowClient(KubeflowSettings(host=api.host)).recurring_runs(NAME)
    assert "Bearer secret" in api.tokens


def test_what_the_server_refuses_is_one_sentence(client: KubeflowClient) -> None:
    with pytest.raises(KubeflowError, match="answers 404"):
        client.delete_recurring_run("no-such-id")


def test_the_command_line_prints_what_was_submitted(api: KubeflowApi, package: Path) -> None:
    command = [sys.executable, "runner.py", "kubeflow", "submit", "--json"]
    done = subprocess.run(
        [*command, "--host", api.host, "--package", str(package)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["run_id"] == api.kept["runs"][0]["run_id"]


def test_a_server_that_is_not_there_is_one_sentence_and_exit_code_1() -> None:
    command = [sys.executable, "runner.py", "kubeflow", "schedule", "list"]
    done = subprocess.run(
        [*command, "--host", "http://127.0.0.1:9"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "http://127.0.0.1:9 cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
