"""What stands at the top of a run's page: how the run ended, and its figures in brief."""

from collections.abc import Iterator
from dataclasses import dataclass

from reporting.formats import count, duration, metric_change, number
from reporting.page import Data, InfraValidation, Page
from reporting.sources import training_sources
from runs.exit_status import Status

_HEADLINES = {
    Status.PUSHED: "Pushed version {version}",
    Status.PUSHED_UNCONFIRMED: "Pushed version {version}, which no live server has confirmed",
    Status.UP_TO_DATE: "Version {version} is up to date",
    Status.NOT_BLESSED: "Not pushed: the model missed its thresholds",
    Status.INFRA_REFUSED: "Not pushed: infra validation refused the model",
    Status.DATA_REFUSED: "Not pushed: the data was refused",
    Status.ROLLED_BACK: "Rolled back: version {version} is not served",
    Status.BUSY: "Not started: the workdir was busy",
    Status.INTERRUPTED: "Interrupted",
    Status.FAILED: "Failed",
}
_AGAINST = "compared with the served model"
_DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True)
class Verdict:
    """How a run ended, in a line, and whether that is as it should be."""

    headline: str
    is_good: bool


@dataclass(frozen=True)
class Figure:
    """A number that says much about a run, with its name and a remark."""

    name: str
    value: str
    note: str = ""


def verdict(status: Status, version: int | None) -> Verdict:
    """Returns the headline of a run."""
    return Verdict(_HEADLINES[status].format(version=version), status.exit_code == 0)


def figures_in_brief(page: Page) -> Iterator[Figure]:
    """Yields the figures that are known of a run."""
    result = page.result
    if result.accuracy is not None:
        yield Figure("accuracy", number(result.accuracy), _accuracy_change(page))
    if result.churn is not None:
        yield Figure("changed predictions", f"{number(100 * result.churn, 2)} %", _AGAINST)
    if result.live_churn is not None:
        yield Figure("changed on live traffic", f"{number(100 * result.live_churn, 2)} %", _AGAINST)
    if page.infra_validation:
        yield from _measured(page.infra_validation)
    if page.data and page.data.statistics:
        yield _training_images(page.data)
    if result.finished_at:
        seconds = (result.finished_at - result.started_at).total_seconds()
        yield Figure("duration", duration(seconds))


def _accuracy_change(page: Page) -> str:
    accuracy = page.quality.accuracy if page.quality else None
    if accuracy is None or accuracy.change is None:
        return ""
    return f"{metric_change(accuracy.change, accuracy.name)} {_AGAINST}"


def _measured(infra: InfraValidation) -> Iterator[Figure]:
    for latency in infra.latency:
        if latency.signature == _DEFAULT_SIGNATURE:
            note = f"median, by the {infra.server} server"
            yield Figure("latency", number(latency.p50_ms, 2, "ms"), note)
    if size := infra.measured.get("model on disk"):
        yield Figure("model", size)


def _training_images(data: Data) -> Figure:
    images = sum(part.examples for part in data.statistics if part.split == "train")
    return Figure("training images", count(images), training_sources(data))
