"""How far chance alone moves a share of right answers."""

from scipy.stats import binomtest


def wilson_interval(right: float, images: float) -> tuple[float, float]:
    """Returns the 95 % Wilson score interval, https://doi.org/10.1080/01621459.1927.10502953.

    Args:
        right: how many of the images were classified rightly.
        images: how many there are; of none, nothing is known: 0 to 1.
    """
    if not images:
        return 0.0, 1.0
    interval = binomtest(round(right), round(images)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)
