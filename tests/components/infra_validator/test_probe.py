"""The probe: signatures side by side, and a reason for each that fails."""

from pathlib import Path
from threading import Barrier, Event
from typing import Any, cast

import numpy as np
import pytest

from components.infra_validator import probe
from components.infra_validator.client import CallFailedError, NoAnswerError, ServingClient
from components.infra_validator.model_refused import MissedOnceError, ModelRefusedError
from components.infra_validator.probe import Probe
from components.infra_validator.requests import Call
from components.infra_validator.saved_model import InProcessModel, read_signatures
from tests.tiny_models import GreyClassifier, grey_examples, grey_spec, save


class OwnAnswers:
    """Answers as a server would that has the model, but for the signatures in `failures`."""

    def __init__(self, model: InProcessModel, calls: list[Call]) -> None:
        self._model = model
        self.calls = {id(call.request): call for call in calls}
        self.failures: dict[str, Exception] = {}
        self.barrier: Barrier | None = None

    def over_grpc(self, request: Any) -> dict[str, np.ndarray]:
        call = self.calls[id(request)]
        if self.barrier:
            self.barrier.wait(60)
        if failure := self.failures.get(call.signature):
            raise failure
        return self._model.answer(call)

    def over_rest(self, request: Any, outputs: list[str]) -> dict[str, np.ndarray]:
        return self.over_grpc(request)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(GreyClassifier(), tmp_path_factory.mktemp("model"))


@pytest.fixture
def asked(model: Path) -> tuple[Probe, OwnAnswers]:
    spec, reference = grey_spec(), InProcessModel(model)
    made = Probe(spec, read_signatures(model, spec), reference, grey_examples(20))
    calls = [call for name in spec.requests for call in made._batches[name] + made._singles[name]]
    return made, OwnAnswers(reference, calls)


def client(answers: OwnAnswers) -> ServingClient:
    return cast(ServingClient, answers)


def test_every_request_of_a_sound_model_is_counted(asked: tuple[Probe, OwnAnswers]) -> None:
    made, answers = asked
    made.ask_all(client(answers))
    batches = sum(map(len, made._batches.values()))
    singles = probe._REST_SINGLES * len(made._singles)
    assert made.requests_answered == 2 * (batches + singles)


def test_two_signatures_are_asked_at_a_time(
    asked: tuple[Probe, OwnAnswers], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, answers = asked
    monkeypatch.setattr(probe, "usable_cpus", lambda: len(made._batches))
    answers.barrier = Barrier(len(made._batches))
    made.ask_all(client(answers))


def test_each_signature_that_fails_is_a_reason_in_their_order(
    asked: tuple[Probe, OwnAnswers],
) -> None:
    made, answers = asked
    names = list(made._batches)
    answers.failures = {name: CallFailedError(f"no {name}") for name in (names[3], names[1])}
    with pytest.raises(ModelRefusedError) as refusal:
        made.ask_all(client(answers))
    assert [reason.split(":")[0].split(",")[0] for reason in refusal.value.reasons] == [
        f"Signature {name} over {protocol}"
        for name in (names[1], names[3])
        for protocol in ("gRPC", "REST")
    ]


def test_a_server_that_does_not_answer_is_asked_again_another_time(
    asked: tuple[Probe, OwnAnswers],
) -> None:
    made, answers = asked
    answers.failures = {"classify": NoAnswerError("UNAVAILABLE: gone")}
    with pytest.raises(MissedOnceError, match=r"Signature classify over gRPC, .*gone"):
        made.ask_all(client(answers))


def test_whoever_gives_up_does_not_wait_for_calls_that_hang(
    asked: tuple[Probe, OwnAnswers], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, answers = asked
    monkeypatch.setattr(probe, "usable_cpus", lambda: 2)
    has_given_up, ended = Event(), Event()
    first = next(iter(made._batches))

    def over_grpc(request: Any) -> dict[str, np.ndarray]:
        if answers.calls[id(request)].signature == first:
            raise NoAnswerError("UNAVAILABLE: gone")
        if has_given_up.wait(60):
            ended.set()
        raise NoAnswerError("UNAVAILABLE: stopped")

    monkeypatch.setattr(answers, "over_grpc", over_grpc)
    with pytest.raises(MissedOnceError):
        made.ask_all(client(answers))
    has_given_up.set()
    assert ended.wait(60)
