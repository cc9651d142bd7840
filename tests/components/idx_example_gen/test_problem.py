"""Spans are blamed for damage, and for not fitting only where the settings are not to blame."""

from pathlib import Path

import pytest

from components.idx_example_gen.problem import Problem, spans_to_blame
from data.layout import Layout, Pair, PictureFolder, Role, origin_of

ANYWHERE = Path("anywhere")


def layout(new: tuple[int, ...], pictures: tuple[str, ...], files: tuple[str, ...]) -> Layout:
    return Layout(
        (1, 2, 3),
        new,
        tuple(Pair(origin, Role.TRAINING, ANYWHERE, ANYWHERE) for origin in files),
        (),
        tuple(PictureFolder(origin, Role.TRAINING, ANYWHERE) for origin in pictures),
    )


ALL = ("span-1", "span-2", "span-3")
ON_IDX = {"pictures": ALL, "files": ("base",)}
ON_PICTURES = {"pictures": ("base", *ALL), "files": ()}
IDX_ONLY = {"pictures": (), "files": ("base", *ALL)}


def misfits(*origins: str) -> list[Problem]:
    return [Problem(origin, "does not fit", is_misfit=True) for origin in origins]


@pytest.mark.parametrize("forms", [ON_IDX, ON_PICTURES, IDX_ONLY])
def test_damage_speaks_against_a_span_new_or_not_unless_the_base_has_some(forms: dict) -> None:
    read = layout((3,), **forms)
    damaged = [Problem(origin_of(span), "damaged") for span in (1, 3)]
    assert spans_to_blame(damaged, read) == {1, 3}
    assert spans_to_blame([*damaged, Problem("base", "damaged")], read) == set()


@pytest.mark.parametrize("forms", [ON_IDX, ON_PICTURES, IDX_ONLY])
def test_a_new_span_that_alone_does_not_fit_is_to_blame(forms: dict) -> None:
    assert spans_to_blame(misfits("span-3"), layout((3,), **forms)) == {3}
    assert spans_to_blame(misfits("span-2", "span-3"), layout((2, 3), **forms)) == {2, 3}


@pytest.mark.parametrize("forms", [ON_IDX, ON_PICTURES, IDX_ONLY])
def test_where_what_was_served_from_does_not_fit_the_settings_are_to_blame(forms: dict) -> None:
    read = layout((3,), **forms)
    assert spans_to_blame(misfits("span-1"), read) == set()
    assert spans_to_blame(misfits("span-1", "span-3"), read) == set()
    assert spans_to_blame(misfits("base", "span-3"), read) == set()


def test_the_first_pictures_are_not_to_blame_for_names_and_sizes_that_no_other_has() -> None:
    assert spans_to_blame(misfits("span-3"), layout((1, 2, 3), **ON_IDX)) == set()


def test_settings_that_do_not_fit_hide_no_damage() -> None:
    problems = [*misfits("base", "span-2"), Problem("span-3", "damaged")]
    assert spans_to_blame(problems, layout((3,), **ON_PICTURES)) == {3}
