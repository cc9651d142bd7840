"""The search space is declared over the settings and always has a place for their values."""

import pytest

from pipeline.best_hyperparameters import decode, encode, with_tuned
from pipeline.settings.errors import UsageError
from pipeline.settings.hyperparameters import Hyperparameters
from pipeline.settings.load import load_config
from pipeline.settings.search_space import (
    SEARCH_SPACE,
    Between,
    OneOf,
    Times,
    TuningSettings,
    nearest_in_space,
)


def test_multiples_are_whole_numbers_and_include_the_value_itself() -> None:
    assert Times((0.5, 2.0)).choices(32) == [16, 32, 64]
    assert Times((0.5, 1.5)).choices((16, 33)) == [(8, 16), (16, 33), (24, 50)]
    assert Times((0.1, 0.2)).choices(2) == [1, 2]


def test_numbers_include_the_one_of_the_settings() -> None:
    assert OneOf((0, 4, 8)).choices(6) == [0, 4, 6, 8]


def test_every_dimension_is_a_hyperparameter_and_all_its_values_are_allowed() -> None:
    settings = Hyperparameters()
    for name, dimension in SEARCH_SPACE.items():
        ends = (
            [dimension.low, dimension.high]
            if isinstance(dimension, Between)
            else dimension.choices(getattr(settings, name))
        )
        for value in ends:
            tuned = with_tuned(settings, decode({name: encode(value)}))
            assert getattr(tuned, name) == pytest.approx(value, rel=0.01)


def test_settings_outside_the_space_are_moved_to_its_edge() -> None:
    learning_rate = SEARCH_SPACE["learning_rate"]
    assert isinstance(learning_rate, Between)
    far_off = Hyperparameters(learning_rate=5.0, weight_decay=0.0, dropout=0.25)
    first = nearest_in_space(far_off, ("learning_rate", "weight_decay", "dropout"))
    assert first["learning_rate"] == learning_rate.high
    assert first["weight_decay"] > 0  # it has a place on a logarithmic scale
    assert first["dropout"] == 0.25


def test_widths_survive_the_way_through_kerastuner() -> None:
    assert decode({"filters": encode((8, 16)), "batch_size": encode(64)}) == {
        "filters": [8, 16],
        "batch_size": 64,
    }


def test_what_was_found_is_rounded_to_what_can_be_read() -> None:
    assert decode({"learning_rate": 0.0031415926, "dropout": 0.123456}) == {
        "learning_rate": 0.00314,
        "dropout": 0.123,
    }


def test_a_name_that_cannot_be_searched_is_answered_with_those_that_can() -> None:
    with pytest.raises(UsageError, match="seed cannot be searched; there are learning_rate, "):
        load_config(overrides=['tuning.parameters=["seed"]'])


def test_widths_are_searched_only_when_asked_for() -> None:
    assert "filters" not in TuningSettings().parameters
    assert "filters" in SEARCH_SPACE
