"""What the plots show besides lines."""

from datetime import UTC, datetime

from reporting.figures import recalls, version_accuracies
from reporting.page import ClassMetrics, ListedVersion, Metric


def row(label: str) -> ClassMetrics:
    return ClassMetrics(
        label=label, images=10, metrics={"recall": Metric(name="recall", value=0.5)}
    )


def test_a_name_too_long_for_a_row_is_shortened() -> None:
    fitting, long = "waterproof walking boots", "waterproof walking boots for children"
    svg = recalls([row(fitting), row(long)])
    assert f">{fitting}<" in svg
    assert ">waterproof walking boots …<" in svg
    assert long not in svg


def test_versions_without_a_measurement_have_no_plot_of_it() -> None:
    now = datetime.now(UTC)
    versions = [
        ListedVersion(version=number, state="served", pushed_at=now, run_id="r", spans=[])
        for number in (1, 2)
    ]
    assert version_accuracies(versions) == ""
    versions[0].accuracy = 0.9
    assert version_accuracies(versions).startswith("<svg")
