"""A distance that a sound span may have is told from one that it never has."""

import numpy as np
import pytest

from components.span_distribution_validator import chance

_RANDOM = np.random.default_rng(3)
_BASELINE = _RANDOM.gamma(4.0, 18.0, 20_000).clip(0, 255)


def histograms(values: chance.Floats) -> tuple[chance.Histogram, chance.Histogram]:
    """The standard histogram and the quantiles of ten, as TFDV's statistics hold them."""
    counts, edges = np.histogram(values, bins=10)
    quantiles = np.quantile(values, np.linspace(0, 1, 11))
    return (
        chance.Histogram(edges, counts.astype(np.float64)),
        chance.Histogram(quantiles, np.full(10, len(values) / 10)),
    )


def probability(span: chance.Floats) -> float:
    standard, quantiles = histograms(_BASELINE)
    own, _ = histograms(span)
    distance = chance.jensen_shannon(own, standard)
    return chance.of_jensen_shannon(distance, standard, quantiles, len(span))


@pytest.mark.parametrize("count", [20, 300])
def test_sound_spans_are_as_likely_as_they_should_be(count: int) -> None:
    found = [probability(span) for span in _RANDOM.choice(_BASELINE, (8, count))]
    assert min(found) > 1e-3
    assert max(found) > 0.3


@pytest.mark.parametrize("count", [20, 300])
def test_inverted_pictures_are_told_from_chance_however_few(count: int) -> None:
    assert probability(255 - _RANDOM.choice(_BASELINE, count)) < 1e-9


def test_what_is_rarer_than_the_draws_is_told_apart() -> None:
    near, far = (probability(_RANDOM.choice(_BASELINE, 100) + shift) for shift in (90, 150))
    assert far < near < 1e-4


def test_a_baseline_of_one_value_only_is_no_error() -> None:
    standard, quantiles = histograms(np.full(100, 7.0))
    same = chance.jensen_shannon(standard, standard)
    assert chance.of_jensen_shannon(same, standard, quantiles, 20) in (0.0, 1.0)
