"""The textfile that Prometheus reads after a run, and the alerts that look at it."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from data.quarantine import quarantine
from orchestration.run_metrics import write_run_metrics
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from runs.exit_status import Status
from runs.result import RunResult
from serving.versions.record import VersionRecord
from serving.versions.store import VersionStore
from tests.conftest import ROOT

parser = pytest.importorskip("prometheus_client.parser")

BEGIN = datetime(2026, 1, 1, 3, 0, tzinfo=UTC)
PUSHED_AT = datetime(2025, 12, 24, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A workdir with a served version and three spans, one of them quarantined."""
    config = load_config(workdir=tmp_path, serving__model_name="clothes")
    for span in (1, 2, 3):
        folder = tmp_path / "data" / "spans" / str(span)
        folder.mkdir(parents=True)
        for name in ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"):
            (folder / name).touch()
    quarantine(config.data_root, 2, "unreadable")
    version = config.serving_dir / "17"
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()
    record = VersionRecord(version=17, pushed_at=PUSHED_AT, checksums={})
    VersionStore(config.serving_base).write_record(record)
    return config


def a_result(status: Status = Status.PUSHED) -> RunResult:
    result = RunResult(run_id="one", started_at=BEGIN, accuracy=0.9365)
    result.finish(status)
    result.finished_at = BEGIN + timedelta(seconds=90)
    return result


def samples(config: Config) -> dict[str, float]:
    """The file's samples by name, with the status where there is one."""
    text = (config.workdir / "metrics" / "run.prom").read_text()
    found = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("model") == "clothes"
            found[" ".join([sample.name, *labels.values()])] = sample.value
    return found


def test_a_run_is_told_with_what_is_served_and_what_is_quarantined(config: Config) -> None:
    write_run_metrics(config, a_result())
    found = samples(config)
    statuses = {name: value for name, value in found.items() if name.startswith("pipeline_run_st")}
    assert statuses.pop("pipeline_run_start_timestamp_seconds") == BEGIN.timestamp()
    assert statuses == {
        f"pipeline_run_status {status}": float(status is Status.PUSHED) for status in Status
    }
    assert found["pipeline_run_end_timestamp_seconds"] == BEGIN.timestamp() + 90
    assert found["pipeline_run_duration_seconds"] == 90
    assert found["pipeline_run_accuracy"] == 0.9365
    assert found["pipeline_served_version"] == 17
    assert found["pipeline_served_version_pushed_timestamp_seconds"] == PUSHED_AT.timestamp()
    assert (found["pipeline_spans"], found["pipeline_quarantined_spans"]) == (3, 1)


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    config = load_config(workdir=tmp_path, serving__model_name="clothes")
    result = a_result(Status.FAILED)
    result.accuracy = None
    write_run_metrics(config, result)
    found = samples(config)
    assert found["pipeline_run_status failed"] == 1
    assert not {"pipeline_run_accuracy", "pipeline_served_version"} & set(found)


def test_a_clock_that_was_set_back_during_the_run_gives_no_negative_length(config: Config) -> None:
    result = a_result()
    result.finished_at = BEGIN - timedelta(days=365)
    write_run_metrics(config, result)
    assert samples(config)["pipeline_run_duration_seconds"] == 0


def test_a_busy_workdir_keeps_the_metrics_of_its_run(config: Config) -> None:
    write_run_metrics(config, a_result())
    write_run_metrics(config, a_result(Status.BUSY))
    assert samples(config)["pipeline_run_status pushed"] == 1


def test_what_cannot_be_read_costs_its_metrics_and_a_line(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: VersionStore) -> None:
        raise OSError("the store is away")

    monkeypatch.setattr(VersionStore, "newest_served", fails)
    write_run_metrics(config, a_result())
    assert samples(config)["pipeline_spans"] == 3
    assert "pipeline_served_version" not in samples(config)
    assert "is not complete: OSError: the store is away" in caplog.text


def test_a_file_that_cannot_be_written_costs_a_line(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    (config.workdir / "metrics").touch()
    write_run_metrics(config, a_result())
    (record,) = caplog.records
    assert "metrics/run.prom is not written" in record.message


def rules() -> list[dict]:
    file = yaml.safe_load((ROOT / "serving/deploy/prometheus/rules.yml").read_text())
    (group,) = [group for group in file["groups"] if group["name"] == "training-runs"]
    return group["rules"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_looks_at_a_metric_that_a_run_leaves(config: Config, rule: dict) -> None:
    write_run_metrics(config, a_result())
    names = re.findall(r"pipeline_\w+", rule["expr"])
    assert names
    assert set(names) <= {name.split()[0] for name in samples(config)}
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert "{{ $labels.model }}" in rule["annotations"]["summary"]


def test_every_end_of_a_run_that_needs_a_person_raises_an_alert() -> None:
    matchers = [re.search(r'status=~?"([^"]+)"', rule["expr"]) for rule in rules()]
    alerted = {status for matcher in matchers if matcher for status in matcher[1].split("|")}
    fine = {Status.PUSHED, Status.UP_TO_DATE, Status.BUSY}
    assert set(Status) - fine <= alerted
    assert not fine & alerted
