"""Lives through the week, and finds out of each day whether it ended as planned."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.simulated_week.clients import SteadyClients
from benchmarks.simulated_week.plan import WINDOW, Day, DayReport, WeekReport
from benchmarks.simulated_week.supplier import Supplier, runner
from data import spans
from data.quarantine import quarantined
from pipeline.settings.config import Config
from pipeline.settings.load import load_config
from runs.result import RunResult
from runs.status import NodeState, Status
from serving.client.rest_client import RestClient
from serving.launch.process import EmbeddedServer
from serving.versions.store import VersionStore

# A small net and limits that only tell a model that learned from one that did not. Every push
# waits until the live server answers with it.
_SETTINGS = """\
preset = "smoke"
workdir = "{workdir}"
[data]
root = "{root}"
window = {window}
[training]
epochs = 20
batch_size = 16
[infra_validation]
model_server = "embedded"
[push]
live_server = "{url}"
"""
_AFTER_TRAINING = (Status.PUSHED, Status.NOT_BLESSED)

# What was looked at, what was found, what was planned.
Check = tuple[str, object, object]


def live_through(
    days: Sequence[Day], workdir: Path, over: Callable[[DayReport], None]
) -> WeekReport:
    """Runs the pipeline on each day while a server serves what it pushes, and clients ask it.

    Args:
        days: the plan.
        workdir: a folder without data, for the data, the runs and the served versions.
        over: is told of every day that is over.
    """
    supplier = Supplier(workdir / "data", sum(len(day.deliveries) for day in days))
    reports: list[DayReport] = []
    with ExitStack() as stack:
        server = stack.enter_context(_server(load_config(workdir=workdir)))
        settings = workdir / "week.toml"
        settings.write_text(
            _SETTINGS.format(
                workdir=workdir, root=supplier.root, window=WINDOW, url=server.rest_url
            )
        )
        config = load_config(file=settings)
        clients = SteadyClients(server.rest_url, server.grpc_address, config.serving.model_name)
        for day in days:
            reports.append(_live_through_one(day, supplier, config, settings))
            over(reports[-1])
            if len(reports) == 1:
                # From the first push on there is a model to ask.
                stack.enter_context(clients)
        time.sleep(1)
        died = [] if server.is_running() else ["the server died"]
    return WeekReport(
        days=reports,
        answered=clients.answered,
        failed=len(clients.failures),
        problems=[*(p for day in reports for p in day.problems), *died, *clients.problems()],
    )


@contextmanager
def _server(config: Config) -> Iterator[EmbeddedServer]:
    config.serving_dir.mkdir(parents=True)
    server = EmbeddedServer()
    server.start(config.serving_dir, config.serving.model_name)
    try:
        yield server
    finally:
        server.stop()


def _live_through_one(day: Day, supplier: Supplier, config: Config, settings: Path) -> DayReport:
    arrived = [
        f"span {supplier.bring(delivery, settings)}, {delivery}" for delivery in day.deliveries
    ]
    window = spans.usable_spans(supplier.root, config.data.window)
    served = VersionStore(config.serving_dir).newest_served()
    started = time.monotonic()
    done = runner("run", "--json", "--config", str(settings))
    if not done.stdout:
        raise RuntimeError(f"the run has no result: {done.stderr}")
    result = RunResult.model_validate_json(done.stdout)
    report = DayReport(
        day=day.name,
        arrived=arrived,
        window=window,
        exit_code=done.returncode,
        trained=_has_trained(result),
        quarantined=list(quarantined(supplier.root)),
        seconds=round(time.monotonic() - started, 1),
        **result.model_dump(
            include={"status", "baseline_version", "version", "accuracy", "reasons"}
        ),
    )
    checks = [
        ("the window", window, list(day.window)),
        ("the verdict", result.status.value, day.status.value),
        ("the exit code", done.returncode, day.status.exit_code),
        ("the baseline", result.baseline_version, served.number if served else None),
        ("a trained model", report.trained, day.status in _AFTER_TRAINING),
        *(_checks_of_push(result, window, config) if day.status is Status.PUSHED else []),
        *(_checks_of_refusal(result, window, report) if day.status.is_refusal else []),
    ]
    report.problems = [
        f"{day.name}: {what} is {found}, planned was {planned}"
        for what, found, planned in checks
        if found != planned
    ]
    return report


def _has_trained(result: RunResult) -> bool:
    return any(node.id == "Trainer" and node.state is NodeState.DONE for node in result.nodes)


def _checks_of_push(result: RunResult, window: list[int], config: Config) -> list[Check]:
    pushed = VersionStore(config.serving_dir).newest_served()
    trained_on = pushed.record.spans if pushed and pushed.record else None
    live = RestClient(str(config.push.live_server), config.serving.model_name).status()
    available = [version.version for version in live if version.is_available]
    return [
        ("what the version was trained on", trained_on, window),
        ("the newest version of the live server", max(available, default=None), result.version),
    ]


def _checks_of_refusal(result: RunResult, window: list[int], report: DayReport) -> list[Check]:
    return [
        ("the span that is to blame", result.blamed_spans, [window[-1]]),
        ("a quarantine of the newest span", window[-1] in report.quarantined, True),
        ("a reason that names the span", _named(window[-1], result.reasons), True),
    ]


def _named(span: int, reasons: list[str]) -> bool:
    return any(f"span-{span} " in reason or f"spans/{span}/" in reason for reason in reasons)
