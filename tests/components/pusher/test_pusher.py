"""Pusher's executor on real artifacts: what it pushes, what it does not, and what it says."""

import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tfx.types import standard_artifacts

from components.infra_validator.blessing import stamped_model
from components.pusher.executor import (
    NotPushedError,
    PushResult,
)
from components.pusher.live_check import LiveCheckError
from serving.versions.publish import PushStatus
from serving.versions.rollback import roll_back
from serving.versions.signature import KeyFileError, Verifier
from serving.versions.storage import PublishError
from serving.versions.store import VersionStore
from tests.components.pusher.conftest import Bless, Push
from tests.raw_servers import ODD, raw_server
from tests.signing_keys import make_keys


def test_a_blessed_model_is_pushed_with_its_record(
    store: VersionStore, bless: Bless, push: Push
) -> None:
    result = push(bless(), code_revision="abc", run_fingerprint="def")

    newest = store.newest_served()
    assert newest is not None
    assert newest.record is not None
    assert result == PushResult(
        status=PushStatus.PUSHED, version=newest.number, destination=newest.directory
    )
    assert newest.record.run_id == "run-1"
    assert newest.record.code_revision == "abc"
    assert newest.record.fingerprint == "def"
    assert newest.record.spans == [3, 4]
    assert newest.record.span_digests == {3: "abc"}
    assert newest.record.model_server == "embedded"
    assert newest.record.labels == ["ant", "bee"]
    assert store.statistics(newest.number) is not None


def test_a_model_that_evaluator_did_not_bless_is_not_pushed(
    store: VersionStore, bless: Bless, push: Push
) -> None:
    result = push(bless(evaluated=False))

    assert result.status is PushStatus.NOT_BLESSED
    assert "Evaluator did not bless" in result.reasons[0]
    assert store.served() == []


def test_a_model_that_changes_too_many_labels_is_not_pushed(
    store: VersionStore, bless: Bless, push: Push
) -> None:
    refused = standard_artifacts.ModelBlessing()
    refused.set_int_custom_property("blessed", 0)

    result = push(bless() | {"diff_blessing": [refused]})

    assert result.status is PushStatus.NOT_BLESSED
    assert "changes too many labels" in result.reasons[0]
    assert store.served() == []


def test_a_model_that_infra_validation_refused_is_not_pushed_and_its_reasons_are_handed_on(
    store: VersionStore, bless: Bless, push: Push
) -> None:
    result = push(bless(validated=False))

    assert result.status is PushStatus.INFRA_REFUSED
    assert result.reasons == ["embedded model server: too slow."]
    assert store.served() == []


def test_a_refusal_fails_the_node_where_that_is_wanted(bless: Bless, push: Push) -> None:
    with pytest.raises(NotPushedError, match=r"not pushed \(infra_refused\): .* too slow"):
        push(bless(validated=False), fail_when_refused=True)


def test_the_same_model_in_another_run_is_up_to_date(
    store: VersionStore, bless: Bless, push: Push
) -> None:
    first = push(bless(), run_id="run-1")
    second = push(bless(), run_id="run-2")

    assert second.status is PushStatus.UP_TO_DATE
    assert second.version == first.version
    assert len(store.served()) == 1


def test_a_retried_execution_says_what_it_said_before(
    store: VersionStore, bless: Bless, push: Push
) -> None:
    first = push(bless("a"), run_id="run-1")
    push(bless("b"), run_id="run-2")

    assert push(bless("a"), run_id="run-1") == first
    assert len(store.served()) == 2


def test_a_model_that_was_rolled_back_is_refused(
    store: VersionStore, bless: Bless, push: Push
) -> None:
    push(bless("good"))
    push(bless("bad"), run_id="run-2")
    roll_back(store, None, "shirts became coats")

    result = push(bless("bad"), run_id="run-3")

    assert result.status is PushStatus.ROLLED_BACK
    assert "shirts became coats" in result.reasons[0]


def test_old_versions_are_pruned_after_a_push(
    store: VersionStore, bless: Bless, push: Push
) -> None:
    pushed = [push(bless(name), run_id=name).version for name in "abcd"]

    assert [version.number for version in store.served()] == [pushed[3], pushed[2]]


def test_a_model_that_changed_since_its_blessing_is_not_pushed(
    store: VersionStore, bless: Bless, push: Push
) -> None:
    inputs = bless()
    (stamped_model(inputs["infra_blessing"][0].uri) / "saved_model.pb").write_text("tampered")

    with pytest.raises(PublishError, match=r"not what was blessed: saved_model.pb differs"):
        push(inputs)
    assert store.served() == []


def test_a_push_to_an_object_store_is_verified_and_recorded(bless: Bless, push: Push) -> None:
    destination = "ram://bucket/push-from-pusher/fashion_mnist"

    result = push(bless(), destination=destination)

    newest = VersionStore(destination).newest_served()
    assert newest is not None
    assert result.destination == f"{destination}/{newest.number}"
    assert VersionStore(destination).is_intact(newest)


BRIEFLY = {"live_timeout_seconds": 0.3, "model_name": "fashion_mnist"}


@pytest.fixture
def live_server(store: VersionStore) -> Iterator[Callable[[str], str]]:
    """Starts a server that reports a state for whatever version is in the directory."""
    servers = []

    def start(state: str) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                statuses = [
                    {"version": str(v.number), "state": state, "status": {"error_message": "why"}}
                    for v in store.served()
                ]
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps({"model_version_status": statuses}).encode())

            def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_version_that_the_live_server_serves_stays(
    store: VersionStore, bless: Bless, push: Push, live_server: Callable[[str], str]
) -> None:
    result = push(bless(), live_server=live_server("AVAILABLE"), model_name="fashion_mnist")

    assert result.status is PushStatus.PUSHED
    assert [version.number for version in store.served()] == [result.version]


def test_a_version_that_the_live_server_gives_up_is_rolled_back(
    store: VersionStore, bless: Bless, push: Push, live_server: Callable[[str], str]
) -> None:
    good = push(bless("good"))

    result = push(
        bless("bad"), run_id="run-2", live_server=live_server("END"), model_name="fashion_mnist"
    )

    assert result.status is PushStatus.ROLLED_BACK
    assert "did not serve version" in result.reasons[0]
    assert "was not loaded: why" in result.reasons[0]
    assert [version.number for version in store.served()] == [good.version]


def test_a_version_that_somebody_takes_back_while_it_is_waited_for_is_rolled_back(
    store: VersionStore, bless: Bless, push: Push, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = push(bless("good"))

    def check(server: str, model_name: str, version: int, *_: object) -> None:
        roll_back(store, version, "by hand")
        raise LiveCheckError("it is not served")

    monkeypatch.setattr("components.pusher.executor.check_live_server", check)
    result = push(bless("bad"), run_id="run-2", live_server="http://127.0.0.1:1", **BRIEFLY)

    assert result.status is PushStatus.ROLLED_BACK
    assert [version.number for version in store.served()] == [good.version]


def test_a_live_server_that_is_silent_leaves_the_version_unconfirmed(
    store: VersionStore, bless: Bless, push: Push
) -> None:
    result = push(
        bless(),
        live_server="http://127.0.0.1:1",
        live_timeout_seconds=0.1,
        model_name="fashion_mnist",
    )

    assert result.status is PushStatus.PUSHED_UNCONFIRMED
    assert "could not be asked" in result.reasons[0]
    assert [version.number for version in store.served()] == [result.version]


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("404 Not Found", '{"error": "Could not find any versions of model fashion_mnist"}'),
        ("200 OK", '{"model_version_status": []}'),
    ],
)
def test_a_live_server_that_answers_and_does_not_serve_it_takes_the_version_back(
    store: VersionStore, bless: Bless, push: Push, head: str, body: str
) -> None:
    with raw_server([f"HTTP/1.1 {head}\r\n\r\n{body}".encode()]) as server:
        result = push(bless(), live_server=server, **BRIEFLY)
    assert result.status is PushStatus.ROLLED_BACK
    assert store.served() == []


@pytest.mark.parametrize("code", [401, 403, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", ["a page", '{"error": "overloaded"}'])
def test_a_live_server_or_a_proxy_that_cannot_say_leaves_the_version_unconfirmed(
    store: VersionStore, bless: Bless, push: Push, code: int, body: str
) -> None:
    with raw_server([f"HTTP/1.1 {code} No\r\n\r\n{body}".encode()]) as server:
        result = push(bless(), live_server=server, **BRIEFLY)
    assert result.status is PushStatus.PUSHED_UNCONFIRMED
    assert re.search(f"overloaded|HTTP {code}", result.reasons[0])
    assert [version.number for version in store.served()] == [result.version]


@pytest.mark.parametrize("sent", ODD.values(), ids=ODD)
def test_whatever_else_a_live_server_sends_leaves_the_version_unconfirmed(
    store: VersionStore, bless: Bless, push: Push, sent: bytes
) -> None:
    with raw_server([sent]) as server:
        result = push(bless(), live_server=server, **BRIEFLY)
    assert result.status is PushStatus.PUSHED_UNCONFIRMED
    assert [version.number for version in store.served()] == [result.version]


def test_a_pushed_model_is_signed_where_a_key_is_named(
    store: VersionStore, bless: Bless, push: Push, tmp_path: Path
) -> None:
    private, public = make_keys(tmp_path)

    result = push(bless(), sign_with=str(private))

    assert result.status is PushStatus.PUSHED
    Verifier(public).verify(Path(str(result.destination)), int(str(result.version)))


def test_nothing_is_pushed_when_the_key_is_gone(
    store: VersionStore, bless: Bless, push: Push, tmp_path: Path
) -> None:
    with pytest.raises(KeyFileError, match="cannot read the key"):
        push(bless(), sign_with=str(tmp_path / "gone.pem"))
    assert store.versions() == []
