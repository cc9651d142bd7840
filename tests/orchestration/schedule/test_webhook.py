"""What a webhook gets, and that it neither loses a message nor stops for one."""

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from orchestration.schedule import webhook as webhook_module
from orchestration.schedule.model_log import ModelLog
from orchestration.schedule.model_schedule import ModelSchedule
from orchestration.schedule.scheduler import Scheduler
from orchestration.schedule.webhook import Webhook
from pipeline.settings.config import Config
from pipeline.settings.errors import UsageError
from runs.exit_status import Status
from runs.result import RunResult
from tests.conftest import ROOT
from tests.orchestration.schedule.receiver import Receiver, receiving

Eventually = Callable[[Callable[[], bool]], None]

LOG = ModelLog(logging.getLogger("orchestration.schedule"), "clothes")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def message() -> dict[str, Any]:
    result = RunResult(run_id="one", started_at=datetime.now(UTC), accuracy=0.9123)
    result.finish(Status.NOT_BLESSED, ['class "Shirt" & others: too low', "second\nline"])
    return {"model": "clothes"} | result.model_dump(mode="json")


def webhook(receiver: Receiver, folder: Path, template: Path | None = None) -> Webhook:
    return Webhook(receiver.url, template, folder / "unsent", LOG)


def waiting(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "unsent").iterdir())


def test_a_message_that_cannot_be_read_now_is_not_given_up(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = webhook(receiver, tmp_path)
    hook.put("a", {"run_id": "a"})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda _: os.open("/nonexistent", os.O_RDONLY))
        with pytest.raises(OSError, match="No such file"):
            hook.deliver()
    assert hook.deliver()
    assert receiver.bodies.get() == b'{"run_id": "a"}'


def test_without_a_template_the_body_is_the_result_with_the_models_name(
    receiver: Receiver, tmp_path: Path, message: dict[str, Any]
) -> None:
    hook = webhook(receiver, tmp_path)
    hook.put("one", message)
    assert hook.deliver()
    body = receiver.bodies.get()
    assert json.loads(body)["model"] == "clothes"
    assert RunResult.model_validate_json(body).status is Status.NOT_BLESSED
    assert waiting(tmp_path) == []


def test_a_message_waits_until_the_receiver_takes_it(
    receiver: Receiver, tmp_path: Path, message: dict[str, Any]
) -> None:
    receiver.answers = [503, 429, 200]
    hook = webhook(receiver, tmp_path)
    hook.put("one", message)
    assert [hook.deliver(), hook.deliver(), hook.deliver()] == [False, False, True]


def test_a_message_survives_the_process_that_took_it_in(
    receiver: Receiver, tmp_path: Path, message: dict[str, Any]
) -> None:
    Webhook("http://127.0.0.1:1/", None, tmp_path / "unsent", LOG).put("one", message)
    assert webhook(receiver, tmp_path).deliver()
    assert json.loads(receiver.bodies.get()) == message


def test_messages_come_in_their_order(receiver: Receiver, tmp_path: Path) -> None:
    hook = webhook(receiver, tmp_path)
    for name in ("b", "a", "c"):
        hook.put(name, {"run_id": name})
    hook.deliver()
    assert [json.loads(receiver.bodies.get())["run_id"] for _ in range(3)] == ["b", "a", "c"]


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b'{"run_id": "a'])
def test_a_damaged_message_is_kept_aside_and_stops_no_other(
    receiver: Receiver, tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    template = tmp_path / "template"
    template.write_text("{{ run_id }}")
    for number, hook in enumerate(
        (webhook(receiver, tmp_path), webhook(receiver, tmp_path, template))
    ):
        hook.put(f"a{number}", {})
        (tmp_path / "unsent" / f"a{number}.json").write_bytes(damage)
        hook.put("b", {"run_id": "b"})
        assert hook.deliver()
    assert [receiver.bodies.get() for _ in range(2)] == [b'{"run_id": "b"}', b"b"]
    assert waiting(tmp_path) == ["a0.json", "a1.json"]
    assert "it is kept as a0.json.unreadable" in caplog.text


@pytest.mark.parametrize("status", [302, 307, 400, 404])
def test_a_redirect_and_a_refusal_are_final_and_logged_without_secrets(
    receiver: Receiver,
    tmp_path: Path,
    message: dict[str, Any],
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with receiving() as elsewhere:
        receiver.answers, receiver.location = [status], elsewhere.url
        hook = webhook(receiver, tmp_path)
        hook.put("one", message)
        assert hook.deliver()
        assert elsewhere.bodies.empty()
    assert waiting(tmp_path) == []
    assert (
        f"clothes: one: the webhook at 127.0.0.1:{receiver.server_address[1]} failed: "
        f"HTTP {status}; it is given up"
    ) in caplog.text
    assert "secret" not in caplog.text


def test_a_receiver_that_is_away_for_long_finds_the_newest_messages(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_module, "_MOST_WAITING", 3)
    hook = webhook(receiver, tmp_path)
    for number in range(5):
        hook.put(f"{number}", {})
    assert waiting(tmp_path) == ["2", "3", "4"]


def documented(name: str) -> str:
    """The template of that title in docs/schedule.md."""
    page = (ROOT / "docs" / "schedule.md").read_text()
    return page.partition(f'title="{name}"\n')[2].partition("```")[0]


def test_the_slack_template_of_the_documentation_gives_a_text(
    receiver: Receiver, tmp_path: Path, message: dict[str, Any]
) -> None:
    template = tmp_path / "slack.json.j2"
    template.write_text(documented("slack.json.j2"))
    hook = webhook(receiver, tmp_path, template)
    hook.put("one", message)
    hook.put("no_run", {"model": "clothes", "status": "no_run", "reasons": ["nothing runs"]})
    assert hook.deliver()
    assert json.loads(receiver.bodies.get()) == {
        "text": '*clothes*: not_blessed\nclass "Shirt" & others: too low\nsecond\nline'
    }
    assert json.loads(receiver.bodies.get()) == {"text": "*clothes*: no_run\nnothing runs"}


def test_the_teams_template_of_the_documentation_gives_a_card(
    receiver: Receiver, tmp_path: Path, message: dict[str, Any]
) -> None:
    template = tmp_path / "teams.json.j2"
    template.write_text(documented("teams.json.j2"))
    hook = webhook(receiver, tmp_path, template)
    hook.put("one", message)
    hook.put("no_run", {"model": "clothes", "status": "no_run", "reasons": []})
    assert hook.deliver()
    bodies = [json.loads(receiver.bodies.get()) for _ in range(2)]
    cards = [body["attachments"][0]["content"]["body"] for body in bodies]
    assert [[block["text"] for block in card] for card in cards] == [
        ["clothes: not_blessed", *message["reasons"], "accuracy 0.9123"],
        ["clothes: no_run", "no accuracy"],
    ]


@pytest.mark.parametrize("text", ["{{ accuracy + 'x' }}", "{{ reasons.nothing() }}", None])
def test_a_template_that_fails_costs_its_shape_and_not_the_message(
    receiver: Receiver, tmp_path: Path, message: dict[str, Any], text: str | None, caplog
) -> None:
    template = tmp_path / "template"
    template.write_text("{{ model }}")
    hook = webhook(receiver, tmp_path, template)
    if text is None:
        template.unlink()
    else:
        template.write_text(text)
    hook.put("one", message)
    assert hook.deliver()
    assert json.loads(receiver.bodies.get()) == message
    assert "JSON is sent instead" in caplog.text


@pytest.mark.parametrize("text", ["{{ status", "{% for x in reasons %}", None])
def test_a_template_that_is_wrong_or_missing_is_named_at_the_start(
    config: Config, tmp_path: Path, text: str | None
) -> None:
    template = tmp_path / "template"
    if text is not None:
        template.write_text(text)
    settings = {"webhook": "http://127.0.0.1:1/", "webhook_template": template}
    schedule = config.schedule.model_copy(update=settings)
    with pytest.raises(UsageError, match=r"schedule\.webhook_template: .*template"):
        ModelSchedule(config.model_copy(update={"schedule": schedule}), ["true"])


def test_a_receiver_that_does_not_answer_delays_no_run(
    receiver: Receiver, config: Config, fake_run, eventually: Eventually
) -> None:
    receiver.answers = [503] * 99
    fake_run.outcomes("pushed", "pushed")
    schedule = config.schedule.model_copy(update={"webhook": receiver.url})
    model = ModelSchedule(config.model_copy(update={"schedule": schedule}), fake_run.command)
    assert model.webhook
    model.resume()
    model.webhook.start()
    for _ in range(2):
        model.ask_for_run("asked for")
        model.start_run()
        eventually(lambda: model.turn() or model.due is None)
    assert waiting(config.workdir / "schedule") == ["run-1", "run-2"]
    receiver.answers.clear()
    eventually(lambda: not waiting(config.workdir / "schedule"))
    model.webhook.stop()


def test_the_thread_outlives_whatever_goes_wrong_in_it(
    receiver: Receiver, tmp_path: Path, eventually: Eventually, monkeypatch, caplog
) -> None:
    hook = webhook(receiver, tmp_path)
    hook.put("one", {})
    with monkeypatch.context() as patched:
        patched.setattr(Webhook, "_send", lambda *_: 1 / 0)
        hook.start()
        eventually(lambda: "the webhook cannot be served: ZeroDivisionError" in caplog.text)
    eventually(lambda: not waiting(tmp_path))
    hook.stop()


def test_a_single_run_reports_before_it_ends_and_leaves_what_it_could_not(
    receiver: Receiver, config: Config, fake_run, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_run.outcomes("data_refused", "failed", "failed", "failed", "up_to_date")
    schedule = config.schedule.model_copy(update={"webhook": receiver.url})
    hooked = config.model_copy(update={"schedule": schedule})

    def once() -> int:
        return Scheduler([ModelSchedule(hooked, fake_run.command)]).once()

    assert once() == 5
    assert json.loads(receiver.bodies.get_nowait())["status"] == "data_refused"
    monkeypatch.setattr(Webhook, "deliver", lambda _: True)
    assert once() == 1
    monkeypatch.undo()
    assert waiting(config.workdir / "schedule") == ["run-4"]
    assert once() == 0
    assert json.loads(receiver.bodies.get_nowait())["run_id"] == "run-4"
    time.sleep(0.1)
    assert receiver.bodies.empty()  # a run without news is not reported
