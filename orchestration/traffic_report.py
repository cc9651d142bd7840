"""Makes a traffic report and hands it on: kept as JSON, shown as a page, measured, announced."""

import logging
from typing import TYPE_CHECKING

from files.paths import resolved
from files.whole import write_whole
from orchestration.schedule.model_log import ModelLog
from orchestration.schedule.webhook import Webhook
from pipeline.settings.config import Config
from pipeline.traffic.report import TrafficReport

if TYPE_CHECKING:
    from reporting.traffic.collect import Collected

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics/traffic.prom"

_HELP = {
    "traffic_report_timestamp_seconds": "When the last traffic report was made.",
    "traffic_pictures": "Recorded pictures that it compared.",
    "traffic_drift": "1 if a feature was further from training than chance and the limit allow.",
}


def report_traffic(config: Config, last: int | None) -> TrafficReport:
    """Makes a report; it is returned even where it cannot be shown, measured or announced.

    Args:
        config: all settings.
        last: how many of the newest recorded pictures it is about; None: all.

    Raises:
        OSError: the report cannot be kept.
    """
    # Imports TensorFlow and TFX.
    from reporting.traffic.collect import collect
    from reporting.traffic.page import REPORTS

    collected = collect(config, last)
    report = collected.report
    _show(collected, config)
    content = report.model_dump_json(indent=2)
    write_whole(config.traffic_dir / REPORTS / report.file_name, content)
    try:
        write_whole(config.workdir / METRICS_FILE, _exposition(report))
    except Exception as error:
        logger.warning("the traffic metrics are not written: %s", error)
    if report.drift:
        _announce(config, report)
    return report


def _show(collected: "Collected", config: Config) -> None:
    from reporting.traffic.page import write_page

    try:
        # The page says where it is, too.
        collected.report.page = config.traffic_dir / "report.html"
        write_page(collected, config)
    except Exception as error:
        collected.report.page = None
        logger.warning("no page of the traffic was written: %s: %s", type(error).__name__, error)


def _announce(config: Config, report: TrafficReport) -> None:
    """Leaves the report where a running schedule sends it from, and sends what waits there."""
    settings = config.schedule
    if not settings.webhook:
        return
    template = settings.webhook_template
    try:
        webhook = Webhook(
            settings.webhook,
            template and resolved(template),
            config.workdir / "schedule" / "unsent",
            ModelLog(logger, report.model),
        )
        name = f"traffic-{report.file_name.removesuffix('.json')}"
        message = {"run_id": name, "status": "drift"} | report.model_dump(mode="json")
        webhook.put(name, message)
        webhook.deliver()
    except Exception as error:
        logger.error("the webhook was not told: %s: %s", type(error).__name__, error)


def _exposition(report: TrafficReport) -> bytes:
    """Returns the metrics in Prometheus' text format."""
    from prometheus_client import CollectorRegistry, Gauge, generate_latest

    registry = CollectorRegistry()
    values = {
        "traffic_report_timestamp_seconds": report.at.timestamp(),
        "traffic_pictures": report.pictures,
        "traffic_drift": report.drift,
    }
    for name, text in _HELP.items():
        Gauge(name, text, ["model"], registry=registry).labels(report.model).set(values[name])
    distance = Gauge(
        "traffic_feature_distance",
        "Distance of a feature from training.",
        ["model", "feature"],
        registry=registry,
    )
    for each in report.features:
        distance.labels(report.model, each.feature).set(each.distance)
    accuracy = Gauge(
        "traffic_live_accuracy",
        "Share of right answers among pictures whose label is known.",
        ["model", "version"],
        registry=registry,
    )
    for live in report.accuracy:
        accuracy.labels(report.model, str(live.version)).set(live.accuracy)
    return generate_latest(registry)
