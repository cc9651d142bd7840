"""Turns a page's data into one HTML file that needs nothing else."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from reporting import formats
from reporting.drawing import drawings, in_words, summary
from reporting.page import HistoryPage, Page
from reporting.sources import sources
from reporting.verdict import figures_in_brief, verdict

_TEMPLATES = Path(__file__).parent / "templates"


def render_page(page: Page) -> str:
    """Returns a run's report as HTML."""
    # Matplotlib takes half a second to import.
    from reporting import figures

    return render(
        "run.html.j2",
        page=page,
        result=page.result,
        verdict=verdict(page.result.status, page.result.version),
        figures_in_brief=list(figures_in_brief(page)),
        sections=list(_sections(page)),
        figures=figures,
    )


def render_history(history: HistoryPage) -> str:
    """Returns the history of a workdir as HTML."""
    from reporting import figures

    return render("history.html.j2", history=history, figures=figures)


def render(template: str, **shown: object) -> str:
    """Returns a template of this room as HTML, with what it shows."""
    return _environment().get_template(template).render(shown)


def _sections(page: Page) -> Iterator[tuple[str, str]]:
    """Yields id and title of those sections that have something to show.

    The template of a section is named after its id.
    """
    shown = {
        ("pipeline", "Pipeline"): page.nodes,
        ("data", "Data"): page.data,
        ("checks", "Schema and drift"): page.checks,
        ("training", "Training"): page.training,
        ("quality", "Quality"): page.quality or page.result.classes,
        ("calibration", "Calibration"): page.answers,
        ("mistakes", "Mistakes"): page.answers,
        ("infra", "Infra validation"): page.infra_validation,
        ("push", "Push"): page.push,
        ("lineage", "Lineage"): page.lineage or page.spans,
        ("runs", "Earlier runs"): True,
    }
    return (section for section, content in shown.items() if content)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["style"] = Markup((_TEMPLATES / "style.css").read_text())
    environment.filters |= {
        written.__name__: written
        for written in (
            *(formats.time, formats.duration, formats.number, formats.count, formats.words),
            formats.interval,
            formats.png,
            *(formats.metric_name, formats.metric_value, formats.metric_change),
            *(drawings, summary, in_words, sources),
        )
    }
    return environment
