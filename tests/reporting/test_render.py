"""The page as HTML: its numbers, that it needs nothing else, and what a refused run shows."""

from collections import Counter
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from reporting.formats import duration
from reporting.page import HistoryPage, Page, ReadSpan
from reporting.render import render_history, render_page
from runs.exit_status import Status
from runs.result import Override, RunResult
from tests.reporting.conftest import Reported


class Document(HTMLParser):
    """The elements of a page with their attributes, and its text without markup."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._hidden = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "style":
            self._hidden = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._hidden:
            self._hidden = ""

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def values(self, attribute: str) -> list[str]:
        return [found for _, has in self.elements if (found := has.get(attribute))]


@pytest.fixture(scope="module")
def document(reported: Reported) -> Document:
    return Document(render_page(reported.page))


def ended(status: Status, **values: object) -> Page:
    now = datetime.now(UTC)
    return Page(
        result=RunResult(run_id="r", started_at=now, finished_at=now, status=status, **values)
    )


def test_the_verdict_comes_first(reported: Reported, document: Document) -> None:
    headings = [tag for tag, _ in document.elements if tag in ("h1", "h2", "h3")]
    assert headings[0] == "h1"
    verdict = f"Pushed version {reported.run.result.version}"
    assert verdict in document.text
    assert document.text.index(verdict) < document.text.index("Pipeline")


def test_the_numbers_of_the_result_are_on_the_page(reported: Reported, document: Document) -> None:
    result = reported.run.result
    assert f"accuracy {result.accuracy:.4f}" in document.text
    for label, quality in result.classes.items():
        row = document.text[document.text.index("One class against all others") :]
        row = row[row.index(label) : row.index(label) + 100]
        assert f"{quality.precision:.4f} {quality.recall:.4f}" in row
    for node in result.nodes:
        assert f"{node.id}: done, {duration(node.seconds)}" in "".join(
            document.values("aria-label")
        )


def test_the_calibration_error_is_evaluators(reported: Reported, document: Document) -> None:
    assert reported.page.quality is not None
    values = {metric.name: metric.value for metric in reported.page.quality.overall}
    error = values["expected_calibration_error"]
    assert f"The expected calibration error, by Evaluator, is {error:.4f}" in document.text


def test_the_checksums_and_the_lineage_are_on_the_page(
    reported: Reported, document: Document
) -> None:
    assert reported.page.push is not None
    for file, digest in reported.page.push.checksums.items():
        assert f"{file} {digest}" in document.text
    for step in reported.page.lineage:
        assert step.uri in document.text


def test_the_page_needs_no_network_and_no_script(document: Document) -> None:
    assert "script" not in {tag for tag, _ in document.elements}
    assert all(source.startswith("data:image/png;base64,") for source in document.values("src"))
    for link in document.values("href"):
        assert link.startswith(("#", "../", "data:,")), link
    assert not [value for value in document.values("style") if "url(" in value]


def test_the_page_can_be_used_without_seeing_it(document: Document) -> None:
    levels = [int(tag[1]) for tag, _ in document.elements if tag in ("h1", "h2", "h3")]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert levels.count(1) == 1
    for tag, attributes in document.elements:
        if tag == "img":
            assert attributes.get("alt")
        if tag == "th":
            assert attributes.get("scope") in ("row", "col")
        if attributes.get("role") in ("img", "region"):
            assert attributes.get("aria-label")
    ids = document.values("id")
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    anchors = [link[1:] for link in document.values("href") if link.startswith("#")]
    assert set(anchors) <= set(ids)


def test_the_plots_take_their_colours_from_the_page(document: Document) -> None:
    styles = " ".join(document.values("style"))
    assert "currentColor" in styles
    assert "var(--series-1)" in styles
    assert "#0" not in styles.replace("url(#", "")


def test_a_run_without_a_served_model_shows_no_comparison(document: Document) -> None:
    assert "served model" not in document.text.replace(
        "Drift against the training data of the served model No comparison was made", ""
    )


def test_the_change_against_the_served_model_is_shown(page: Page) -> None:
    assert page.quality is not None
    page.quality.has_baseline = True
    for metric in page.quality.overall:
        metric.baseline = metric.value + 0.0125
    text = Document(render_page(page)).text
    assert "\N{MINUS SIGN}0.0125 compared with the served model" in text


def test_refused_data_shows_the_reasons_and_the_quarantined_span() -> None:
    reason = "split train, feature mean_pixel: drift <0.3>"
    page = ended(Status.DATA_REFUSED, reasons=[reason], blamed_spans=[7])
    document = Document(render_page(page))
    assert "Not pushed: the data was refused" in document.text
    assert reason in document.text
    assert "runner.py data release 7" in document.text
    assert "quality" not in document.values("id")


def test_an_override_stands_beside_the_verdict() -> None:
    now = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    override = Override(action="run --force", who="ann", when=now, why="<typo>")
    unexplained = Override(action="models restore 5", who="bob", when=now)
    result = RunResult(
        run_id="r", started_at=now, status=Status.PUSHED, overrides=[override, unexplained]
    )
    text = Document(render_page(Page(result=result))).text
    shown = "Override: run --force by ann, 2026-01-02 03:04 UTC: <typo> Override: models restore 5"
    assert text.index(shown) < text.index("Earlier runs")


def test_the_lineage_names_the_spans_with_their_checksums(page: Page) -> None:
    page.spans = [
        ReadSpan(span="base", images=60000, sha256="ab"),
        ReadSpan(span=3, images=40, sha256="cd"),
    ]
    text = Document(render_page(page)).text
    assert "base 60,000 ab span 3 40 cd" in text


def test_a_confidence_interval_is_shown_beside_its_metric(page: Page) -> None:
    assert page.quality is not None
    accuracy = page.quality.accuracy
    assert accuracy is not None
    accuracy.interval = (0.76543, 0.87)
    text = Document(render_page(page)).text
    assert f"accuracy all images {accuracy.value:.4f} 0.7654 to 0.8700" in text


def test_without_evaluators_artifact_the_results_own_numbers_are_shown(page: Page) -> None:
    page.quality = None
    text = Document(render_page(page)).text
    for label, quality in page.result.classes.items():
        assert f"{label} {quality.precision:.4f} {quality.recall:.4f} {quality.auc:.4f}" in text


def test_a_class_without_evaluated_images_is_listed_without_numbers(page: Page) -> None:
    assert page.quality is not None
    page.quality.classes[3].metrics = {}
    page.quality.classes[4].label = "Coat < 50 $ or > 99 $"
    document = Document(render_page(page))
    assert document.text.count("Dress") > 1
    assert "Coat < 50 $ or > 99 $" in document.text


def test_a_missed_threshold_is_marked_where_it_was_missed(page: Page) -> None:
    assert page.quality is not None
    shirt = next(row for row in page.quality.classes if row.label == "Shirt")
    shirt.metrics["recall"].missed = True
    document = Document(render_page(page))
    assert document.text.count("✕ missed") == 1
    assert document.values("class").count("missed") == 1


@pytest.mark.parametrize("status", list(Status))
def test_every_way_to_end_has_a_page(status: Status) -> None:
    document = Document(render_page(ended(status, version=5)))
    assert [tag for tag, _ in document.elements].count("h1") == 1
    assert "Earlier runs" in document.text


def test_a_history_without_versions_says_so() -> None:
    text = Document(render_history(HistoryPage(model_name="m", versions=[], runs=[]))).text
    assert "No version has been pushed yet" in text
