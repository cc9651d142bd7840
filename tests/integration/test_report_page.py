"""The report of a real run in a real browser: it renders, on any screen and in the dark."""

import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page

from components.metrics.evaluation_results import read_metrics
from orchestration.compiler import compile_pipeline
from orchestration.ir import write_ir
from pipeline.evaluation import ACCURACY
from pipeline.modeling.features import CLASS_LABELS
from pipeline.settings.load import load_config
from pipeline.settings.paths import ROOT
from runs.result import RunResult
from tests.conftest import SmokeRun

pytestmark = pytest.mark.integration

SCREENS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark"), (320, "light")]

# The lowest contrast between any text and what is painted behind it, as WCAG 2 defines it.
LOWEST_CONTRAST = """
() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const luminance = (...layers) => {
    for (const layer of layers) {
      canvas.fillStyle = layer;
      canvas.fillRect(0, 0, 1, 1);
    }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
      const share = value / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let lowest = [21, ""];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      layers.unshift(getComputedStyle(at).backgroundColor);
    }
    const text = element instanceof SVGElement ? style.fill : style.color;
    const [one, other] = [luminance("white", ...layers), luminance("white", ...layers, text)];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < lowest[0]) lowest = [contrast, texts.currentNode.data.trim()];
  }
  return lowest;
}
"""


def look(page: Page, path: Path, width: int = 1280, scheme: str = "light") -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.goto(path.as_uri())


def report_of(run: SmokeRun) -> Path:
    assert run.result.report is not None
    return run.result.report


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_a_page_fits_the_screen_and_can_be_read(
    smoke_run: SmokeRun, page: Page, page_problems: list[str], width: int, scheme: str
) -> None:
    report = report_of(smoke_run)
    for path in (report, report.parent.parent / "index.html"):
        look(page, path, width, scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        contrast, text = page.evaluate(LOWEST_CONTRAST)
        assert contrast >= 4.5, text
    assert page_problems == []


def test_the_dark_page_is_dark(smoke_run: SmokeRun, page: Page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    look(page, report_of(smoke_run), scheme="light")
    light = page.evaluate(paper)
    page.emulate_media(color_scheme="dark")
    assert (light, page.evaluate(paper)) == ("rgb(255, 255, 255)", "rgb(20, 23, 27)")


def test_the_numbers_on_the_page_are_those_in_the_metadata(smoke_run: SmokeRun, page: Page) -> None:
    look(page, report_of(smoke_run))
    (evaluation,) = (smoke_run.workdir / "pipeline_root/Evaluator/evaluation").iterdir()
    metrics = read_metrics(evaluation)
    shown = page.locator("#quality table:has-text('cross-entropy') tbody tr").all_inner_texts()
    accuracy = metrics.overall[ACCURACY]
    assert (
        shown[[row.split()[0] for row in shown].index("accuracy")].split()[3] == f"{accuracy:.4f}"
    )
    rows = page.locator("#quality table:has-text('precision') tbody tr").all()
    assert len(rows) == len(CLASS_LABELS)
    for class_id, row in enumerate(rows):
        cells = row.locator("td").all_inner_texts()
        found = metrics.classes[class_id]
        assert cells[1:3] == [f"{found['precision']:.4f}", f"{found['recall']:.4f}"]
    matrix = page.locator(".matrix tbody tr").all()
    for row, counts in zip(matrix, metrics.confusion_matrix, strict=True):
        cells = row.locator("td").all_inner_texts()
        assert [0 if cell == "·" else int(cell) for cell in cells] == counts


def test_every_picture_is_drawn(smoke_run: SmokeRun, page: Page) -> None:
    look(page, report_of(smoke_run))
    assert page.evaluate("[...document.images].every((image) => image.naturalWidth > 0)")
    sizes = [plot.bounding_box() for plot in page.locator("figure svg").all()]
    assert len(sizes) >= 6
    assert all(size and size["width"] > 200 for size in sizes)


def test_the_history_is_one_click_away_and_leads_back(smoke_run: SmokeRun, page: Page) -> None:
    look(page, report_of(smoke_run))
    page.get_by_role("link", name="All versions and runs").click()
    assert page.get_by_role("heading", level=1).inner_text() == "fashion_mnist"
    page.locator("#versions").get_by_role("link", name=smoke_run.result.run_id).click()
    assert str(smoke_run.result.version) in page.get_by_role("heading", level=1).inner_text()


def test_an_orchestrators_last_task_writes_the_page(smoke_run: SmokeRun, tmp_path: Path) -> None:
    (tmp_path / "metadata.sqlite").write_bytes((smoke_run.workdir / "metadata.sqlite").read_bytes())
    ir = tmp_path / "pipeline.ir.json"
    write_ir(compile_pipeline(load_config("smoke", workdir=tmp_path)), ir)
    run_id = smoke_run.result.run_id
    command = [sys.executable, "-m", "orchestration.record_result", str(ir), run_id]
    task = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    result = RunResult.model_validate_json(task.stdout)
    assert result.report == tmp_path / "reports" / run_id / "index.html"
    assert f"Pushed version {smoke_run.result.version}" in result.report.read_text()
