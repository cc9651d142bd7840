"""What is measured is measured three times before it refuses a model, what is wrong once."""

from pathlib import Path

import pytest

from components.infra_validator import validation
from components.infra_validator.model_refused import MissedOnceError, ModelRefusedError
from components.infra_validator.spec import Method, SignatureRequest, ValidationSpec
from serving.launch.base import ServerKind

SLOW = MissedOnceError("The p99 latency of classify is 90.0 ms, the limit is 50 ms.")
GONE = MissedOnceError("The server ended before the model was AVAILABLE.")
WRONG = ModelRefusedError("Signature classify over REST, one example: other scores.")

Endings = list[ModelRefusedError | None]


@pytest.fixture
def validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Validates with attempts that end as they are told to, and says which there were."""

    def run(endings: Endings):
        made: Endings = []

        def attempt(self: object, folder: Path, stamped: Path) -> None:
            stamped.mkdir(parents=True)
            (stamped / "saved_model.pb").write_text(f"attempt {len(made)}")
            ending = endings[len(made)]
            made.append(ending)
            if ending is not None:
                raise ending

        monkeypatch.setattr(validation._Trial, "run", attempt)
        request = SignatureRequest(method=Method.CLASSIFY, inputs={})
        spec = ValidationSpec(
            model_name="m",
            requests={"classify": request},
            labels=["a"],
            model_server=ServerKind.EMBEDDED,
            work_dir=tmp_path / "work",
        )
        blessing = validation.validate(tmp_path / "model", [], spec, tmp_path / "stamped")
        return blessing, made

    return run


@pytest.mark.parametrize("endings", [[None], [SLOW, None], [SLOW, GONE, None]])
def test_one_attempt_that_passes_is_enough(validate, endings: Endings, tmp_path: Path) -> None:
    blessing, made = validate(endings)
    assert blessing.blessed
    assert blessing.reasons == []
    assert made == endings
    assert blessing.measurements.attempts == len(endings)
    assert blessing.checksums
    kept = (tmp_path / "stamped" / "saved_model.pb").read_text()
    assert kept == f"attempt {len(endings) - 1}"


def test_three_attempts_that_miss_are_a_verdict(validate, tmp_path: Path) -> None:
    blessing, made = validate([SLOW, GONE, SLOW])
    assert not blessing.blessed
    assert len(made) == 3
    assert blessing.reasons == [f"embedded model server: {SLOW}"]
    assert not (tmp_path / "stamped").exists()


def test_a_wrong_answer_is_a_verdict_at_once(validate) -> None:
    blessing, made = validate([SLOW, WRONG])
    assert not blessing.blessed
    assert len(made) == 2
    assert blessing.reasons == [f"embedded model server: {WRONG}"]
