"""How likely a distance between a span and its baseline is if nothing but chance is at work.

A limit that is right for a thousand images is far too tight for forty.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

Floats = npt.NDArray[np.float64]

_DRAWS = 2_000
_SEED = 1


@dataclass(frozen=True)
class Histogram:
    """Counts between edges: float64 [bins + 1] and float64 [bins]."""

    edges: Floats
    counts: Floats

    def cumulative(self, at: Floats) -> Floats:
        """The share of values up to each point, as if values were even inside a bin."""
        total = np.concatenate([[0.0], np.cumsum(self.counts)])
        return np.interp(at, self.edges, total / total[-1])


def of_shares(counts: Mapping[str, float], shares: Mapping[str, float]) -> float:
    """The probability that any value is as rare or as frequent as the strangest one is.

    Each value's count has a binomial distribution; the smallest of their two-sided tails is
    multiplied by the number of values (Bonferroni), which is an upper bound.

    Args:
        counts: of each value in the span.
        shares: of each value in the baseline.
    """
    total = round(sum(counts.values()))
    values = shares.keys() | counts.keys()
    tails = (
        2
        * min(
            stats.binom.cdf(counts.get(value, 0), total, shares.get(value, 0)),
            stats.binom.sf(counts.get(value, 0) - 1, total, shares.get(value, 0)),
        )
        for value in values
    )
    return min(1.0, len(values) * min(tails))


def of_jensen_shannon(
    distance: float, baseline: Histogram, quantiles: Histogram, count: int
) -> float:
    """The probability of a Jensen-Shannon divergence of `distance` or more.

    TFDV's distance is between histograms of ten bins, each over its own range, which has no
    distribution in closed form. Spans drawn from the baseline give its mean and variance; the gamma
    distribution with these (a multiple of chi-squared, as the divergence is for fixed bins) tells
    what is rarer than the draws can show.

    Args:
        distance: in bits, as TFDV measures it.
        baseline: the standard histogram of the baseline, to which distances are measured.
        quantiles: the quantiles of the baseline, from which values are drawn.
        count: how many examples the span has.
    """
    random = np.random.default_rng(_SEED)
    shares = np.concatenate([[0.0], np.cumsum(quantiles.counts)])
    # One span after the other: all of them at once would be gigabytes for a large one.
    drawn = (
        np.interp(random.random(count), shares / shares[-1], quantiles.edges) for _ in range(_DRAWS)
    )
    distances = np.array([jensen_shannon(_standard(values), baseline) for values in drawn])
    mean, variance = distances.mean(), distances.var()
    if not variance:
        return float(mean >= distance)
    return float(stats.gamma.sf(distance, mean**2 / variance, scale=variance / mean))


def jensen_shannon(one: Histogram, other: Histogram) -> float:
    """The Jensen-Shannon divergence in bits, over the bins of both, as TFDV measures it."""
    edges = np.union1d(one.edges, other.edges)
    p, q = np.diff(one.cumulative(edges)), np.diff(other.cumulative(edges))
    middle = (p + q) / 2
    return float((stats.entropy(p, middle, base=2) + stats.entropy(q, middle, base=2)) / 2)


def _standard(values: Floats) -> Histogram:
    counts, edges = np.histogram(values, bins=10)
    return Histogram(edges, counts.astype(np.float64))
