"""A traffic report is kept, shown, measured and announced, whatever fails beside it."""

import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from data import idx
from orchestration.traffic_report import report_traffic
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from pipeline.settings.paths import SAMPLE_DATA
from pipeline.traffic.report import TrafficReport, kept_reports
from pipeline.traffic.statistics import Picture, of_pictures
from reporting.traffic import collect, page
from serving.model_server.request_log_records import predict_log
from serving.traffic.origin import CANARY, STABLE, Origin
from serving.traffic.recording import TrafficRecorder
from serving.versions.record import VersionRecord
from serving.versions.store import VersionStore
from tests.by_mean_model import save_by_mean


@pytest.fixture(scope="module")
def by_mean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_by_mean(tmp_path_factory.mktemp("by_mean"))


@pytest.fixture(scope="module")
def clothes() -> np.ndarray:
    return idx.read_images(SAMPLE_DATA / "base" / "train-images-idx3-ubyte.gz")


@pytest.fixture(scope="module")
def received() -> Iterator[tuple[str, list[dict]]]:
    """The address of a webhook, and what it was told."""
    messages: list[dict] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", messages
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def training(by_mean: Path, clothes: np.ndarray, config_args: tuple[str, ...]) -> dict:
    pngs = tf.io.encode_png(clothes[:200][..., np.newaxis]).numpy()
    found = of_pictures([Picture(each, "base") for each in pngs], str(by_mean), config_args)
    assert found
    return found


@pytest.fixture(scope="module")
def config_args() -> tuple[str, ...]:
    return load_config().beam.pipeline_args


@pytest.fixture
def config(
    tmp_path: Path,
    by_mean: Path,
    training: dict,
    received: tuple[str, list[dict]],
    monkeypatch: pytest.MonkeyPatch,
) -> Config:
    """A workdir in which version 5 is served; what it was trained on is counted already."""
    config = load_config(workdir=tmp_path, schedule__webhook=received[0])
    shutil.copytree(by_mean, config.serving_dir / "5")
    record = VersionRecord(version=5, pushed_at="2026-01-01T00:00:00Z", checksums={})
    VersionStore(config.serving_base).write_record(record)
    monkeypatch.setattr(collect, "training_statistics", lambda *_arguments: training)
    received[1].clear()
    return config


def ask(config: Config, images: np.ndarray) -> None:
    """Records pictures; every tenth was answered by the canary."""
    recorder = TrafficRecorder(config.recordings_dir, "fashion_mnist", 1 << 22, 1 << 24)
    for number, image in enumerate(images.astype(np.uint8)):
        png = tf.io.encode_png(image[..., np.newaxis]).numpy()
        log = predict_log({"image_bytes": np.array([png], object)}, {})
        variant = STABLE if number % 10 else CANARY
        origin = Origin(f"<b>{number}</b>", 5, variant, 1e9 + number)
        recorder.record(log, "predict_bytes", origin)
    recorder.close()


def test_drift_is_kept_shown_measured_and_announced(
    config: Config, clothes: np.ndarray, received: tuple[str, list[dict]]
) -> None:
    ask(config, np.minimum(clothes[700:820] + 70.0, 255))
    report = report_traffic(config, None)

    assert report.drift
    assert report.features[0].feature == "mean_pixel"
    assert report.reasons[0].startswith("mean_pixel (mean of the pixels, 0 to 255) is 0.")
    assert [(each.variant, each.requests) for each in report.variants] == [
        ("stable", 108),
        ("canary", 12),
    ]
    assert list(kept_reports(config.traffic_dir / "reports")) == [report]
    [message] = received[1]
    assert (message["status"], message["drift"]) == ("drift", True)
    assert TrafficReport.model_validate(
        {name: value for name, value in message.items() if name in TrafficReport.model_fields}
    )
    metrics = (config.workdir / "metrics" / "traffic.prom").read_text()
    assert 'traffic_feature_distance{feature="mean_pixel",model="fashion_mnist"} 0.' in metrics
    assert report.page
    shown = report.page.read_text()
    assert "fashion_mnist: drift" in shown
    assert shown.count("<svg") >= 8
    assert "&lt;b&gt;" in shown
    assert "<b>0</b>" not in shown, "ids come from clients"

    again = report_traffic(config, 50)
    assert (again.pictures, len(list(kept_reports(config.traffic_dir / "reports")))) == (50, 2)
    assert "Distance" in config.traffic_dir.joinpath("report.html").read_text()


def test_what_the_edge_saw_is_counted_by_variant(config: Config, clothes: np.ndarray) -> None:
    ask(config, clothes[700:760])
    log = config.edge_dir / "access.log"
    log.parent.mkdir(parents=True)
    requests = [
        {"variant": STABLE, "status": 200, "server_seconds": "0.002"},
        {"variant": STABLE, "status": 500, "server_seconds": "0.001"},
        {"variant": CANARY, "status": 200, "server_seconds": "0.030"},
        {"variant": STABLE, "status": 429, "server_seconds": "-"},
        {"variant": "", "status": 200, "server_seconds": "0.002"},
        {"variant": STABLE, "status": 200, "server_seconds": "0.002", "model": "another"},
        {"variant": STABLE, "status": 200, "server_seconds": "0.002", "time": 1e9 - 1},
    ]
    usual = {"time": 1e9 + 1, "id": "a", "model": "fashion_mnist", "seconds": 0.1}
    log.write_text("".join(json.dumps(usual | request) + "\n" for request in requests))

    report = report_traffic(config, None)
    assert [(each.variant, each.requests, each.errors) for each in report.variants] == [
        ("stable", 2, 1),
        ("canary", 1, 0),
    ]
    assert [each.p50_ms for each in report.variants] == [2.0, 30.0]
    assert [each.pictures for each in report.variants] == [54, 6]


def test_without_a_page_there_is_still_a_report(
    config: Config, clothes: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("no fonts")

    monkeypatch.setattr(page, "write_page", fail)
    ask(config, clothes[700:760])
    report = report_traffic(config, None)
    assert (report.drift, report.page, report.pictures) == (False, None, 60)


def test_nothing_recorded_and_nothing_served_are_said(config: Config, clothes: np.ndarray) -> None:
    empty = report_traffic(config, None)
    assert (empty.drift, empty.reasons) == (
        False,
        [f"nothing is recorded in {config.recordings_dir}"],
    )
    ask(config, clothes[:3])
    shutil.rmtree(config.serving_dir)
    unserved = report_traffic(config, None)
    assert unserved.reasons == [f"no version is served from {config.serving_base}"]
    assert (unserved.pictures, unserved.features) == (3, [])
